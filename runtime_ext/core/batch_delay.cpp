#include "core/batch_delay.h"

#include <algorithm>

namespace trtserve {

namespace {

constexpr int kMemory = 8;    // executions in the average
constexpr size_t kDecay = 4;  // each batch drops this fraction of the expected number

}  // namespace

void BatchDelay::arrived(size_t open) { expected_ = std::max(expected_, open); }

void BatchDelay::began(size_t open) {
  const size_t forgotten = std::max<size_t>(1, expected_ / kDecay);
  expected_ = std::max(open, expected_ - std::min(expected_, forgotten));
}

void BatchDelay::executed(Nanoseconds compute) {
  compute_ += compute_ == Nanoseconds(0) ? compute : (compute - compute_) / kMemory;
}

Nanoseconds BatchDelay::longest() const {
  if (!rules_.adaptive) return rules_.max_delay;
  // An execution under way and the batch's own already use part of the latency target.
  return std::clamp(rules_.latency_target - 2 * compute_, Nanoseconds(0), compute_);
}

}  // namespace trtserve
