#pragma once

#include <memory>

#include "execution.h"

namespace trtserve::fake::trt {

// How enqueueV3 takes part in the captures of graph.cpp. Thread safe.

/// Adds the execution to the graph that the stream captures.
void add_to_capture(const Stream& stream, std::shared_ptr<Execution> execution);

/// Makes the stream's capture fail at its end.
void invalidate_capture(const Stream& stream);

}  // namespace trtserve::fake::trt
