#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// Puts a check before each operator that may make a large list, dictionary or string, or many tensors, of small
/// values: their memory does not come from torch's allocator, see core/module_memory.h. Operators that add one element
/// have none: only a loop makes much of them, and it has a check of its own.
void check_growth(torch::jit::Graph& graph);

}  // namespace trtserve::torchscript
