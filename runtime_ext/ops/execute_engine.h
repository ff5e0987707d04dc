#pragma once

#include <functional>
#include <vector>

#include <ATen/core/stack.h>

#include "core/engine.h"

namespace trtserve {

/// Runs an engine on tensors of the engine's number, dtypes and shapes, wherever they live: inputs go to
/// the engine's device, outputs come back on the device of the first input that the engine reads there. InvalidInput
/// with a sentence that names the tensor. No gradient flows through an engine.
std::vector<at::Tensor> execute(Engine& engine, std::vector<at::Tensor> inputs);

/// The kernel of `trt::execute_engine(int id, ...) -> ...`. On the stack: the ID, the inputs and, as the
/// interpreter hands it to any variadic operator, the number of both together; after it the outputs.
void execute_engine(torch::jit::Stack& stack);

/// The kernel of `trt::execute_engine_list(int id, Tensor[] inputs) -> Tensor[]`.
std::vector<at::Tensor> execute_engine_list(int64_t id, at::TensorList inputs);

/// Calls `run`, in which the operators are reached through the TorchScript interpreter, and lets an Error
/// of theirs out as it was: the interpreter alone would turn it into a runtime_error with a stack trace.
std::vector<at::Tensor> with_errors_kept(const std::function<std::vector<at::Tensor>()>& run);

}  // namespace trtserve
