#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include <c10/util/ArrayRef.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/request.h"

namespace trtserve {

/// How often something was timed, and how long it took together. Whole nanoseconds: nothing is rounded.
struct Duration {
  uint64_t count = 0;
  uint64_t ns = 0;

  void add(Nanoseconds duration, uint64_t times = 1);
};

/// A histogram of whole numbers over fixed bounds.
class Histogram {
 public:
  /// `bounds` are upper ones, ascending, and live for ever; what is greater falls into one bucket more.
  explicit Histogram(c10::ArrayRef<uint64_t> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void observe(uint64_t value, uint64_t times = 1);
  void observe(Nanoseconds duration, uint64_t times = 1) { observe(static_cast<uint64_t>(duration.count()), times); }

  c10::ArrayRef<uint64_t> bounds() const { return bounds_; }
  /// One a bound, not cumulative, and one for the rest.
  const std::vector<uint64_t>& counts() const { return counts_; }
  uint64_t sum() const { return sum_; }
  uint64_t count() const;
  /// Of observed durations.
  Duration duration() const { return {count(), sum_}; }

 private:
  c10::ArrayRef<uint64_t> bounds_;
  std::vector<uint64_t> counts_;
  uint64_t sum_ = 0;
};

/// In nanoseconds: from 25 microseconds to 10 seconds.
inline constexpr std::array<uint64_t, 18> kDurations = {
    25'000,      50'000,      100'000,       250'000,       500'000,       1'000'000,
    2'500'000,   5'000'000,   10'000'000,    25'000'000,    50'000'000,    100'000'000,
    250'000'000, 500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
inline constexpr std::array<uint64_t, 11> kItems = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

/// When the phases of one execution ended; each begins where the one before it ends, so that together they are the
/// whole. On the CPU a phase's work is done when it ends. A GPU works asynchronously, and nothing waits for it but the
/// last phase: `infer` has then enqueued the execution, not finished it, and `output` waits for all of the batch's work
/// on the device, its inputs' copies and its execution included.
struct ExecutionTimes {
  TimePoint start;
  TimePoint gathered;  ///< the inputs are joined; on a GPU: in pinned memory, and their copies enqueued
  TimePoint inferred;  ///< the wrapper has returned
  TimePoint end;       ///< the outputs are on the host, and divided among the requests

  Nanoseconds input() const { return gathered - start; }
  Nanoseconds infer() const { return inferred - gathered; }
  Nanoseconds output() const { return end - inferred; }
  Nanoseconds compute() const { return end - start; }
};

/// The phases of several executions.
struct Phases {
  Duration input;
  Duration infer;
  Duration output;

  void add(const ExecutionTimes& times, uint64_t executions = 1);
};

/// What happened to the requests of one engine.
///
/// What is of executions, and of the times of requests in them, is of those that succeeded. So a request that ran in a
/// batch that failed, and then by itself, counts for that second execution; the time of the first is queue time. It
/// follows that queue, compute and total have one observation each for every success, that total is the sum of the
/// other two, and compute the sum of its phases: to the nanosecond.
struct RequestNumbers {
  std::array<uint64_t, kAllKinds.size()> failures{};  ///< requests that ended so, by kind; a refusal is one
  Histogram queue{kDurations};                        ///< a success's arrival to the start of its execution
  Histogram compute{kDurations};                      ///< the execution, for each request in it
  Histogram total{kDurations};                        ///< a success's arrival to its completion
  Histogram failed{kDurations};                       ///< a failure's arrival to its completion; 0 for a refusal
  Phases phases;                                      ///< of compute: for each request
  Histogram batch{kItems};                            ///< items of an execution; one observation an execution
  std::map<uint64_t, Phases> batches;                 ///< by items, see kSizes: for each execution
  uint64_t failed_executions = 0;                     ///< but for those of which a request's input was at fault
  uint64_t undivided_batches = 0;                     ///< of these, whose outputs had no item for each that went in
  std::chrono::milliseconds last_inference{0};        ///< when the last execution ended, since 1970; 0: never
};

/// Counts what happens to the requests of one engine. Thread safe: one lock an execution, and one a failure. A snapshot
/// is of one moment: it has all of an execution, or nothing.
class RequestStats {
 public:
  /// So many sizes of batches are told apart. Lone requests can be of any size, so beyond that a new one is counted as
  /// the next power of two: a client cannot make this grow without bound.
  static constexpr size_t kSizes = 256;

  /// An execution of `requests` with `items` in all has succeeded, just now by the wall clock. Those that had ended
  /// before are not successes; an execution of nothing else is not counted.
  void succeeded(std::span<const Request> requests, int64_t items, const ExecutionTimes& times,
                 std::chrono::milliseconds wall_time);

  void execution_failed();
  /// The number of them so far.
  uint64_t batch_undivided();

  /// A request has ended as a failure so long after its arrival.
  void failed(Kind kind, Nanoseconds after);
  /// A request was not accepted.
  void refused(Kind kind) { failed(kind, Nanoseconds(0)); }

  RequestNumbers snapshot() const;

 private:
  uint64_t size_kept(uint64_t items) const;

  mutable std::mutex mutex_;  // held for additions and copies only
  RequestNumbers numbers_;    // guarded by mutex_
};

}  // namespace trtserve
