#include "core/call.h"

#include "core/engine.h"
#include "core/graph_run.h"

namespace trtserve {

Call::Call(const Engine& engine, at::Device device) : engine_(engine) {
  const auto* caller = GraphRun::current();
  if (caller != nullptr && !caller->counts_calls()) return;
  counter_ = engine.call_counter();
  if (!counter_) return;
  if (caller == nullptr || !caller->has_turn_on(device)) turn_ = counter_->turn_at_once(device);
  times_.start = times_.gathered = counter_->begin();
}

void Call::inferred() {
  if (counter_) times_.inferred = counter_->now();
}

void Call::succeeded(c10::ArrayRef<at::Tensor> inputs) {
  if (!counter_) return;
  times_.end = counter_->now();
  counter_->succeeded(inputs, times_);
  note(std::nullopt);
}

void Call::failed(const Error& error) {
  if (!counter_) return;
  times_.end = counter_->now();
  counter_->failed(error);
  note(error.kind());
}

void Call::note(std::optional<Kind> failure) const {
  auto* const caller = GraphRun::current();
  if (caller != nullptr) caller->made({engine_.id(), engine_.name(), times_.start, times_.end, failure});
}

}  // namespace trtserve
