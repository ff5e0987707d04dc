#pragma once

#include "core/request.h"
#include "core/signal_queue.h"

namespace trtserve {

/// Carries completions from the worker threads to the event loop.
using CompletionQueue = SignalQueue<Completion>;

}  // namespace trtserve
