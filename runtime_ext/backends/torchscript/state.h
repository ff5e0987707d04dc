#pragma once

#include <memory>
#include <vector>

#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// Throws InvalidInput if an execution of the frozen graph would leave something behind that a later one could see: it
/// sets an attribute, or writes to a parameter, a buffer or a constant. Otherwise says which of the graph's inputs
/// (without self) an execution writes to.
std::vector<bool> check_state(torch::jit::Graph& graph);

}  // namespace trtserve::torchscript
