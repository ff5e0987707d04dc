#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <c10/util/ArrayRef.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/execution_times.h"
#include "core/request.h"

namespace trtserve {

/// How often something was timed, and its total time in whole nanoseconds, without rounding.
struct Duration {
  uint64_t count = 0;
  uint64_t ns = 0;

  void add(Nanoseconds duration, uint64_t times = 1);
};

/// A histogram of whole numbers over fixed bounds.
class Histogram {
 public:
  /// `bounds` are upper bounds, ascending, and outlive this; greater values go into one extra bucket.
  explicit Histogram(c10::ArrayRef<uint64_t> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void observe(uint64_t value, uint64_t times = 1);
  void observe(Nanoseconds duration, uint64_t times = 1) { observe(static_cast<uint64_t>(duration.count()), times); }

  c10::ArrayRef<uint64_t> bounds() const { return bounds_; }
  /// One count per bound, not cumulative, and one for greater values.
  const std::vector<uint64_t>& counts() const { return counts_; }
  uint64_t sum() const { return sum_; }
  uint64_t count() const;
  /// The count and sum, if the values are durations.
  Duration duration() const { return {count(), sum_}; }

 private:
  c10::ArrayRef<uint64_t> bounds_;
  std::vector<uint64_t> counts_;
  uint64_t sum_ = 0;
};

/// Bounds in nanoseconds: from 25 microseconds to 10 seconds.
inline constexpr std::array<uint64_t, 18> kDurations = {
    25'000,      50'000,      100'000,       250'000,       500'000,       1'000'000,
    2'500'000,   5'000'000,   10'000'000,    25'000'000,    50'000'000,    100'000'000,
    250'000'000, 500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
inline constexpr std::array<uint64_t, 11> kItems = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

/// The phases of several executions.
struct Phases {
  Duration input;
  Duration infer;
  Duration output;

  void add(const ExecutionTimes& times, uint64_t executions = 1);
};

/// Statistics of one engine's requests.
///
/// Executions, and the times of requests in them, count only if they succeeded. So a request whose batch failed, and
/// which then ran alone, counts for the second execution; the time of the first is queue time. Hence queue, compute and
/// total have one observation each per success, total is the sum of the other two, and compute is the sum of its
/// phases, to the nanosecond.
///
/// Calls (see core/call.h) are executions without a request: they count in `calls` and in what is per execution.
///
/// An engine has these numbers for each name by which clients call it. An execution whose requests called it by several
/// counts for the name of the first, and its items for the names of their requests.
struct RequestNumbers {
  std::array<uint64_t, kAllKinds.size()> failures{};  ///< failed requests by kind, including refusals
  Histogram queue{kDurations};                        ///< successes: from arrival to the start of execution
  Histogram compute{kDurations};                      ///< successes: the execution, once per request
  Histogram total{kDurations};                        ///< successes: from arrival to completion
  Histogram failed{kDurations};                       ///< failures: from arrival to completion; 0 for a refusal
  Phases phases;                                      ///< the phases of compute, once per request
  Histogram calls{kDurations};                        ///< successful calls: the execution
  Histogram batch{kItems};                            ///< items per execution, calls included
  uint64_t inferences = 0;                            ///< items in successful executions, calls included
  std::map<uint64_t, Phases> batches;                 ///< phases per execution, by items, see kSizes
  uint64_t failed_executions = 0;                     ///< without those where a caller's input was at fault
  uint64_t undivided_batches = 0;               ///< of these, those whose outputs did not have one item per input item
  std::chrono::milliseconds last_inference{0};  ///< end of the last execution, since 1970; 0: none yet
};

struct NamedNumbers {
  std::string name;
  RequestNumbers numbers;
};

/// Counts the requests of one engine by outcome, for each name by which it is called. Thread safe: it locks once per
/// execution, and once per failure. A snapshot is consistent: it has all of an execution, or nothing.
class RequestStats {
 public:
  /// The number of batch sizes counted separately. A lone request can have any size, so further sizes are counted as
  /// the next power of two: a client cannot make the table grow without bound.
  static constexpr size_t kSizes = 256;

  /// The number of names that are counted apart. Requests by any other count as the engine's own.
  static constexpr size_t kNames = 64;

  /// The name for what nobody calls by another. Only the first call has an effect: numbers do not move between names.
  void own(const std::string& name);
  /// The number of a name; 0 for the engine's own, which an empty one stands for.
  size_t number_of(const std::string& name);

  /// Counts an execution of `requests`, with `items` in total, that just succeeded by the wall clock. Requests that had
  /// already ended are not successes; if all had, the execution is not counted.
  void succeeded(std::span<const Request> requests, int64_t items, const ExecutionTimes& times,
                 std::chrono::milliseconds wall_time);

  /// Counts a call that just succeeded by the wall clock.
  void called(int64_t items, const ExecutionTimes& times, std::chrono::milliseconds wall_time);

  void execution_failed();
  /// Counts a batch whose outputs could not be divided.
  void batch_undivided();

  /// Counts a request by the name of this number that failed, `after` its arrival.
  void failed(size_t name, Kind kind, Nanoseconds after);
  /// Counts a request that was not accepted.
  void refused(size_t name, Kind kind) { failed(name, kind, Nanoseconds(0)); }

  /// The engine's own come first.
  std::vector<NamedNumbers> snapshot() const;

 private:
  static void executed(RequestNumbers& numbers, uint64_t items, const ExecutionTimes& times,
                       std::chrono::milliseconds wall_time);
  static uint64_t size_kept(const RequestNumbers& numbers, uint64_t items);
  RequestNumbers& own_numbers() { return named_.front().numbers; }

  mutable std::mutex mutex_;                                       // held for additions and copies only
  bool has_own_ = false;                                           // guarded by mutex_: own() was called
  std::vector<NamedNumbers> named_{std::vector<NamedNumbers>(1)};  // guarded by mutex_; by number, the own first
};

/// What is counted of an engine over all of its lives; an unload may keep it for the next load.
struct Counts {
  std::shared_ptr<RequestStats> requests = std::make_shared<RequestStats>();
  std::map<std::string, int64_t> backend;  ///< the backend's counters, without gauges, of the former lives
};

/// True for a backend's number that may go down: its name ends in _bytes.
bool is_gauge(const std::string& name);

}  // namespace trtserve
