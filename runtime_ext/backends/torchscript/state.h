#pragma once

#include <memory>
#include <vector>

#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// Throws InvalidInput if an execution of the frozen graph would leave something behind that a later one could see:
/// it sets an attribute, or writes to a parameter, a buffer or a constant.
void check_state(const std::shared_ptr<torch::jit::Graph>& graph);

/// Which of the graph's inputs (without self) an execution writes to.
std::vector<bool> written_inputs(const std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace trtserve::torchscript
