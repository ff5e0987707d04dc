#pragma once

#include <memory>

#include "execution.h"

namespace trtserve::fake::trt {

// What enqueueV3 tells the captures of graph.cpp. Thread safe.

/// The execution is part of the graph that the stream captures.
void add_to_capture(const Stream& stream, std::shared_ptr<Execution> execution);

/// The stream's capture is to fail at its end.
void invalidate_capture(const Stream& stream);

}  // namespace trtserve::fake::trt
