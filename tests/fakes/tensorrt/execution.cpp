#include "execution.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "contract.h"
#include "control.h"
#include "gate.h"
#include "kernels.h"
#include "pattern.h"

namespace trtserve::fake::trt {

void Execution::begin(const char* function, const Stream& stream) {
  if (*setup_.revision != revision_) {
    breached(function, ": the execution context was changed after the graph had been captured from it");
  }
  const uint64_t number = setup_.flight->begin(function, stream, setup_.scratch, setup_.scratch_bytes);
  const std::lock_guard lock(mutex_);
  begun_.push_back({number, stream.device()});
}

bool Execution::may_launch() {
  const std::lock_guard lock(mutex_);
  return !std::exchange(launched_, true) || setup_.plan->graph != GraphMode::Once;
}

Work Execution::work(bool replay) {
  return [self = shared_from_this(), replay] { self->run(replay); };
}

void Execution::run(bool replay) {
  Begun begun;
  {
    const std::lock_guard lock(mutex_);
    if (begun_.empty())
      return breached("a graph with enqueueV3's work was run by something other than cudaGraphLaunch");
    begun = begun_.front();
    begun_.pop_front();
  }
  const auto& plan = *setup_.plan;
  setup_.weights->check("engine");
  setup_.persistent->check("execution context");
  fill(setup_.scratch, setup_.scratch_bytes, begun.number);
  if (!plan.gate.empty()) toy::pass_gate(plan.gate);
  if (const auto* reason = plan.failure("kernel")) {
    fake_device_break_one(begun.device, reason->c_str());
  } else if (!replay || plan.graph != GraphMode::Idle) {
    compute_outputs();
    if (replay && plan.graph == GraphMode::Wrong) spoil_outputs();
  }
  if (!filled(setup_.scratch, setup_.scratch_bytes, begun.number)) {
    breached("enqueueV3: another writer changed the scratch memory while the work used it");
  }
  setup_.flight->finish(begun.number);
}

size_t Execution::bytes_of(size_t tensor) const {
  return static_cast<size_t>(element_count(setup_.shapes[tensor])) * size_of(setup_.plan->tensors[tensor].type);
}

void Execution::compute_outputs() {
  const auto& tensors = setup_.plan->tensors;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].is_input()) continue;
    if (tensors[i].on_host()) {
      write_shape(setup_.shapes[tensors[i].first], setup_.addresses[i]);
    } else if (!compute(*setup_.plan, i, setup_.shapes, setup_.addresses)) {
      breached("enqueueV3: the input of '", tensors[i].name, "' was modified before the work was done");
    }
  }
}

/// Changes every output to a wrong value that is valid for its datatype.
void Execution::spoil_outputs() {
  const auto& tensors = setup_.plan->tensors;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].is_input() || tensors[i].on_host() || bytes_of(i) == 0) continue;
    auto* const bytes = static_cast<char*>(setup_.addresses[i]);
    const bool zero = std::all_of(bytes, bytes + bytes_of(i), [](char byte) { return byte == 0; });
    std::memset(bytes, 0, bytes_of(i));
    if (zero) bytes[0] = 1;
  }
}

}  // namespace trtserve::fake::trt
