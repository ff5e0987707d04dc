#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// True if tasks that a graph forks could change a list, a dictionary, an object or the shape of a tensor that another
/// task, or the graph itself, uses at the same time: nothing in torch guards these, so memory would be corrupted. The
/// elements of a tensor may be written while others read them.
bool tasks_may_race(torch::jit::Graph& graph);

}  // namespace trtserve::torchscript
