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

void RequestStats::own(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (!has_own_) named_.front().name = name;
  has_own_ = true;
}

size_t RequestStats::number_of(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (name.empty()) return 0;
  const auto found = std::find_if(named_.begin(), named_.end(), [&](const auto& named) { return named.name == name; });
  if (found != named_.end()) return static_cast<size_t>(found - named_.begin());
  if (named_.size() == kNames) return 0;
  named_.push_back({name, {}});
  return named_.size() - 1;
}

void RequestStats::succeeded(std::span<const Request> requests, int64_t items, const ExecutionTimes& times,
                             std::chrono::milliseconds wall_time) {
  const auto first =
      std::find_if(requests.begin(), requests.end(), [](const Request& request) { return !request.ended; });
  if (first == requests.end()) return;
  const std::lock_guard lock(mutex_);
  // It may throw, so it comes first.
  executed(named_.at(first->signature->number).numbers, static_cast<uint64_t>(items), times, wall_time);
  for (auto request = requests.begin(); request != requests.end();) {
    const size_t number = request->signature->number;
    auto& numbers = named_.at(number).numbers;
    uint64_t successes = 0;
    for (; request != requests.end() && request->signature->number == number; ++request) {
      numbers.inferences += static_cast<uint64_t>(request->signature->items);
      if (request->ended) continue;
      ++successes;
      numbers.queue.observe(times.start - request->arrival);
      numbers.total.observe(times.end - request->arrival);
    }
    if (successes == 0) continue;
    numbers.compute.observe(times.compute(), successes);
    numbers.phases.add(times, successes);
    numbers.last_inference = wall_time;
  }
}

void RequestStats::called(int64_t items, const ExecutionTimes& times, std::chrono::milliseconds wall_time) {
  const std::lock_guard lock(mutex_);
  auto& numbers = own_numbers();
  executed(numbers, static_cast<uint64_t>(items), times, wall_time);
  numbers.inferences += static_cast<uint64_t>(items);
  numbers.calls.observe(times.compute());
}

/// Call with mutex_ held.
void RequestStats::executed(RequestNumbers& numbers, uint64_t items, const ExecutionTimes& times,
                            std::chrono::milliseconds wall_time) {
  numbers.batches[size_kept(numbers, items)].add(times);
  numbers.batch.observe(items);
  numbers.last_inference = wall_time;
}

/// The batch size under which an execution of `items` is counted: its own, or, for a new size once kSizes are kept, the
/// next power of two.
uint64_t RequestStats::size_kept(const RequestNumbers& numbers, uint64_t items) {
  const auto& batches = numbers.batches;
  return items == 0 || batches.size() < kSizes || batches.count(items) != 0 ? items : std::bit_ceil(items);
}

void RequestStats::failed(size_t name, Kind kind, Nanoseconds after) {
  const std::lock_guard lock(mutex_);
  auto& numbers = named_.at(name).numbers;
  ++numbers.failures.at(static_cast<size_t>(kind));
  numbers.failed.observe(after);
}

void RequestStats::execution_failed() {
  const std::lock_guard lock(mutex_);
  ++own_numbers().failed_executions;
}

void RequestStats::batch_undivided() {
  const std::lock_guard lock(mutex_);
  ++own_numbers().undivided_batches;
}

std::vector<NamedNumbers> RequestStats::snapshot() const {
  const std::lock_guard lock(mutex_);
  return named_;
}

bool is_gauge(const std::string& name) {
  constexpr std::string_view kBytes = "_bytes";
  return name.size() >= kBytes.size() && name.compare(name.size() - kBytes.size(), kBytes.size(), kBytes) == 0;
}

}  // namespace trtserve
