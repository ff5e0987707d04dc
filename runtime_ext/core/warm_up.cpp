#include "core/warm_up.h"

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>

#include "core/device_health.h"
#include "core/error.h"
#include "core/graph_run.h"
#include "core/input_check.h"

namespace trtserve {

namespace {

using Inputs = std::vector<WarmUpInput>;

void check(const Engine& engine, const Inputs& inputs) {
  const auto& specs = engine.inputs();
  if (inputs.size() != specs.size()) {
    fail(Kind::InvalidInput, engine.label(), " takes ", specs.size(), " inputs; an execution to warm it up has ",
         inputs.size());
  }
  std::vector<InputShape> shapes;
  for (size_t i = 0; i < specs.size(); ++i) shapes.push_back({specs[i].dtype, inputs[i].shape});
  check_inputs(specs, shapes);
}

at::Tensor tensor_of(const WarmUpInput& input, const TensorSpec& spec, at::Device device) {
  const auto options = at::TensorOptions().dtype(spec.dtype).device(spec.on_host ? at::Device(at::kCPU) : device);
  if (input.values.empty()) return at::zeros(input.shape, options);
  return at::tensor(input.values, at::TensorOptions().dtype(at::kLong)).view(input.shape).to(options);
}

size_t warm_up(Replica& replica, const Engine& engine, const std::vector<Inputs>& executions, Clock& clock,
               TimePoint deadline) {
  const bool on_cpu = replica.device().is_cpu();
  if (on_cpu && !replica.backend_engine().is_steady()) return 0;
  const c10::InferenceMode inference;
  const c10::OptionalDeviceGuard guard(on_cpu ? std::nullopt : std::optional(replica.device()));
  std::vector<ContextPool::Lease> leases;  // of every context at once, so that each has its turn
  for (size_t i = 0; i < replica.instances(); ++i) leases.push_back(replica.contexts().acquire());
  size_t ran = 0;
  for (const auto& execution : executions) {
    std::vector<at::Tensor> inputs;
    for (size_t i = 0; i < execution.size(); ++i) {
      inputs.push_back(tensor_of(execution[i], engine.inputs()[i], replica.device()));
    }
    for (const auto& lease : leases) {
      if (clock.now() >= deadline) return ran;
      // The engines that a module calls do not count it either.
      with_errors_kept(std::make_shared<GraphRun>(GraphRun::Calls::Uncounted), [&] {
        lease->warm_up(inputs);
        return std::vector<at::Tensor>();
      });
      ++ran;
    }
  }
  return ran;
}

}  // namespace

size_t warm_up(Engine& engine, const std::vector<Inputs>& executions, Clock& clock, TimePoint deadline) {
  for (const auto& execution : executions) check(engine, execution);
  size_t ran = 0;
  for (const auto& replica : engine.replicas()) {
    try {
      ran += warm_up(*replica, engine, executions, clock, deadline);
    } catch (...) {
      throw explained(replica->device(), engine.label(), std::current_exception());
    }
  }
  return ran;
}

}  // namespace trtserve
