#include "core/served_calls.h"

namespace trtserve {

TimePoint ServedCalls::begin() {
  const TimePoint now = clock_.now();
  last_.store(now, std::memory_order_relaxed);
  return now;
}

std::unique_ptr<DeviceShare::Turn> ServedCalls::turn_at_once(at::Device device) {
  auto& member = replicas_.on(device).member;
  member.take_at_once();
  return std::make_unique<DeviceShare::Turn>(member, std::adopt_lock);
}

void ServedCalls::succeeded(c10::ArrayRef<at::Tensor> inputs, const ExecutionTimes& times) {
  stats_.called(items_of(inputs), times, clock_.wall_time());
}

void ServedCalls::failed(const Error& error) {
  if (error.kind() == Kind::Cancelled) return;  // the caller does not want it any more
  failed_({error.kind(), error.what()}, clock_.glance());
}

/// The items along the batch dimension, where the inputs agree; 1 where the engine does not batch.
int64_t ServedCalls::items_of(c10::ArrayRef<at::Tensor> inputs) const {
  if (!rules_.joins() || inputs.empty()) return 1;
  const int64_t items = inputs[0].size(rules_.input_batch_dim[0]);
  for (size_t i = 1; i < inputs.size(); ++i) {
    if (inputs[i].size(rules_.input_batch_dim[i]) != items) return 1;
  }
  return items;
}

}  // namespace trtserve
