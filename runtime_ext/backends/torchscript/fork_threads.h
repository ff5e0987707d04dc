#pragma once

#include <functional>

namespace trtserve::torchscript {

/// Runs a task of prim::fork, or the rest of a graph after a wait for one, on another thread with this thread's state
/// of torch, device and stream. Where all threads are busy it runs it at once on this one: a task may wait for an
/// engine whose executions fork too, so no task may wait for a thread.
void launch(std::function<void()> task);

/// Runs such a task at once on this thread.
void run_here(std::function<void()> task);

}  // namespace trtserve::torchscript
