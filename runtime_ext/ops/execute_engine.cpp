#include "ops/execute_engine.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/byte_strings.h"
#include "core/call.h"
#include "core/device_health.h"
#include "core/engine_manager.h"
#include "core/error.h"
#include "core/graph_run.h"
#include "core/input_check.h"
#include "ops/remembering_errors.h"

namespace trtserve {

namespace {

void check_count(const Engine& engine, size_t count) {
  if (count != engine.inputs().size()) {
    fail(Kind::InvalidInput, engine.label(), " takes ", engine.inputs().size(), " inputs; ", count, " came");
  }
}

/// The device of the caller's tensors, without those that the engine reads on the host; default_device() if there are
/// no others.
at::Device caller_device(const Engine& engine, const std::vector<at::Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!engine.inputs()[i].on_host) return inputs[i].device();
  }
  return default_device(engine);
}

/// Converts a tensor to what the engine needs. Each call into torch's dispatcher costs time, so it makes only necessary
/// ones.
at::Tensor ready(at::Tensor input, at::Device device) {
  if (input.requires_grad()) input = input.detach();
  if (input.device() != device) input = input.to(device);
  return input.is_contiguous() ? input : input.contiguous();
}

/// Only the queue makes tensors of strings: in others', the pointers could be any numbers.
void check_strings(const Engine& engine) {
  const auto* run = GraphRun::current();
  if (run != nullptr && run->is_of_queue()) return;
  for (const auto* specs : {&engine.inputs(), &engine.outputs()}) {
    for (const auto& spec : *specs) {
      if (spec.dtype != kBytes) continue;
      fail(Kind::InvalidInput, engine.label(), " has strings ('", spec.name,
           "'), which requests can have and torch's tensors cannot: no module and no program can call it");
    }
  }
}

void check(const Engine& engine, const std::vector<at::Tensor>& inputs) {
  check_count(engine, inputs.size());
  check_strings(engine);
  std::vector<InputShape> shapes;
  shapes.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& name = engine.inputs()[i].name;
    const auto& input = inputs[i];
    if (!input.defined()) fail(Kind::InvalidInput, "input '", name, "' is an undefined tensor");
    if (input.layout() != at::kStrided) fail(Kind::InvalidInput, "input '", name, "' is not a dense tensor");
    shapes.push_back({input.scalar_type(), input.sizes()});
  }
  check_inputs(engine.inputs(), shapes);
}

/// `call`: begins with the execution.
std::vector<at::Tensor> run(const Engine& engine, Replica& replica, at::Device caller, std::vector<at::Tensor> inputs,
                            std::optional<Call>& call) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = ready(std::move(inputs[i]), engine.inputs()[i].on_host ? at::Device(at::kCPU) : replica.device());
  }
  auto outputs = [&] {
    const auto context = replica.contexts().acquire();
    call.emplace(engine, replica.device());
    return context->execute(inputs);
  }();
  call->inferred();
  for (auto& output : outputs) {
    if (output.scalar_type() == kBytes) continue;  // a copy would not keep the strings
    // Outputs on the host move too: one rule, which the fake kernel can follow.
    if (output.device() != caller) output = output.to(caller);
  }
  call->succeeded(inputs);
  return outputs;
}

/// The engine that runs a request of this thread's queue; null if another caller asks for it.
std::shared_ptr<Engine> engine_of_queue(EngineId id) {
  const auto* const caller = GraphRun::current();
  return caller != nullptr && caller->engine() && caller->engine()->id() == id ? caller->engine() : nullptr;
}

/// The life of an engine that serves now; null if that is this one, or if there is none any more.
std::shared_ptr<Engine> next_life(const Engine& engine) {
  try {
    auto now = find_engine(engine.id());
    return now.get() == &engine ? nullptr : now;
  } catch (const Error&) {
    return nullptr;
  }
}

/// Calls an engine that was found by its ID. Another life of it may have taken its place before the call could begin:
/// then that runs.
std::vector<at::Tensor> execute_found(std::shared_ptr<Engine> engine, const std::vector<at::Tensor>& inputs) {
  while (true) {
    try {
      return execute(*engine, inputs);
    } catch (const Error& error) {
      if (error.kind() != Kind::NotFound) throw;
      auto next = next_life(*engine);
      if (!next) throw;
      engine = std::move(next);
    }
  }
}

}  // namespace

at::Device default_device(const Engine& engine) {
  const at::Device first = engine.replicas().front()->device();
  if (engine.replicas().size() == 1) return first;
  return engine.replica_for(c10::impl::VirtualGuardImpl(first.type()).getDevice()).device();
}

std::vector<at::Tensor> execute(Engine& engine, std::vector<at::Tensor> inputs) {
  check(engine, inputs);
  const auto caller = caller_device(engine, inputs);
  auto& replica = engine.replica_for(caller);
  check_alive(replica.device());
  std::optional<Call> call;
  try {
    return run(engine, replica, caller, std::move(inputs), call);
  } catch (...) {
    Error error = explained(replica.device(), engine.label(), std::current_exception());
    if (call) call->failed(error);
    throw error;
  }
}

void execute_engine(torch::jit::Stack& stack) {
  remembering_errors([&stack] {
    const auto argument_count = static_cast<size_t>(torch::jit::pop(stack).toInt());
    auto arguments = torch::jit::pop(stack, argument_count);
    if (arguments.empty() || !arguments[0].isInt()) {
      fail(Kind::InvalidInput, "trt::execute_engine takes an engine ID and the engine's inputs");
    }
    const EngineId id = arguments[0].toInt();
    const auto of_queue = engine_of_queue(id);
    const auto engine = of_queue ? of_queue : find_engine(id);
    check_count(*engine, arguments.size() - 1);
    std::vector<at::Tensor> inputs;
    for (size_t i = 1; i < arguments.size(); ++i) {
      if (!arguments[i].isTensor()) {
        fail(Kind::InvalidInput, "input '", engine->inputs()[i - 1].name, "' is a ", arguments[i].tagKind(),
             "; the engine takes a tensor");
      }
      inputs.push_back(std::move(arguments[i]).toTensor());
    }
    auto outputs = of_queue ? execute(*engine, std::move(inputs)) : execute_found(engine, inputs);
    for (auto& output : outputs) torch::jit::push(stack, std::move(output));
  });
}

std::vector<at::Tensor> execute_engine_list(int64_t id, at::TensorList inputs) {
  return remembering_errors([&] { return execute_found(find_engine(id), inputs.vec()); });
}

int64_t engine_named(const std::string& name) {
  return remembering_errors([&] { return find_engine_named(name)->id(); });
}

}  // namespace trtserve
