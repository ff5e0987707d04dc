#pragma once

#include <string>
#include <vector>

#include <ATen/core/stack.h>

#include "core/engine.h"

namespace trtserve {

/// Runs an engine on inputs that match its number, dtypes and shapes, on any device: the engine's replica there
/// runs them; if it has none there, inputs are moved to one of its devices, and outputs to the device of the first
/// input that the engine reads there. InvalidInput, naming the tensor. No gradient flows through an engine.
std::vector<at::Tensor> execute(Engine& engine, std::vector<at::Tensor> inputs);

/// Where an engine runs, and leaves its outputs, if no input says so: on the thread's current device of the engine's
/// type if it has a replica there, which is that of the instance if one calls; otherwise on its first.
at::Device default_device(const Engine& engine);

/// The kernel of `trt::execute_engine(int id, ...) -> ...`. On entry, the stack holds the ID, the inputs, and their
/// total number, as for any variadic operator; on return, the outputs.
void execute_engine(torch::jit::Stack& stack);

/// The kernel of `trt::execute_engine_list(int id, Tensor[] inputs) -> Tensor[]`.
std::vector<at::Tensor> execute_engine_list(int64_t id, at::TensorList inputs);

/// The kernel of `trt::engine(str name) -> int`: the ID of the loaded engine of that name. NotFound if there is none.
int64_t engine_named(const std::string& name);

}  // namespace trtserve
