#include "core/stats.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string_view>

namespace trtserve {

void Duration::add(Nanoseconds duration, uint64_t times) {
  count += times;
  ns += times * static_cast<uint64_t>(duration.count());
}

void Histogram::observe(uint64_t value, uint64_t times) {
  const auto* bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<size_t>(bucket - bounds_.begin())] += times;
  sum_ += times * value;
}

uint64_t Histogram::count() const { return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}); }

void Phases::add(const ExecutionTimes& times, uint64_t executions) {
  input.add(times.input(), executions);
  infer.add(times.infer(), executions);
  output.add(times.output(), executions);
}

void RequestStats::succeeded(std::span<const Request> requests, int64_t items, const ExecutionTimes& times,
                             std::chrono::milliseconds wall_time) {
  const auto successes = static_cast<uint64_t>(
      std::count_if(requests.begin(), requests.end(), [](const Request& request) { return !request.ended; }));
  if (successes == 0) return;
  const std::lock_guard lock(mutex_);
  executed(static_cast<uint64_t>(items), times, wall_time);  // may throw, so it comes first
  for (const auto& request : requests) {
    if (request.ended) continue;
    numbers_.queue.observe(times.start - request.arrival);
    numbers_.total.observe(times.end - request.arrival);
  }
  numbers_.compute.observe(times.compute(), successes);
  numbers_.phases.add(times, successes);
}

void RequestStats::called(int64_t items, const ExecutionTimes& times, std::chrono::milliseconds wall_time) {
  const std::lock_guard lock(mutex_);
  executed(static_cast<uint64_t>(items), times, wall_time);
  numbers_.calls.observe(times.compute());
}

/// Call with mutex_ held.
void RequestStats::executed(uint64_t items, const ExecutionTimes& times, std::chrono::milliseconds wall_time) {
  numbers_.batches[size_kept(items)].add(times);
  numbers_.batch.observe(items);
  numbers_.last_inference = wall_time;
}

/// The batch size under which an execution of `items` is counted: its own, or, for a new size once kSizes are kept, the
/// next power of two.
uint64_t RequestStats::size_kept(uint64_t items) const {
  const auto& batches = numbers_.batches;
  return items == 0 || batches.size() < kSizes || batches.count(items) != 0 ? items : std::bit_ceil(items);
}

void RequestStats::failed(Kind kind, Nanoseconds after) {
  const std::lock_guard lock(mutex_);
  ++numbers_.failures.at(static_cast<size_t>(kind));
  numbers_.failed.observe(after);
}

void RequestStats::execution_failed() {
  const std::lock_guard lock(mutex_);
  ++numbers_.failed_executions;
}

void RequestStats::batch_undivided() {
  const std::lock_guard lock(mutex_);
  ++numbers_.undivided_batches;
}

bool is_gauge(const std::string& name) {
  constexpr std::string_view kBytes = "_bytes";
  return name.size() >= kBytes.size() && name.compare(name.size() - kBytes.size(), kBytes.size(), kBytes) == 0;
}

RequestNumbers RequestStats::snapshot() const {
  const std::lock_guard lock(mutex_);
  return numbers_;
}

}  // namespace trtserve
