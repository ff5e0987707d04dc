#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/clock.h"
#include "core/error.h"

namespace trtserve {

/// A histogram of durations. Thread safe without a lock: a reader may see one observation in `counts` that
/// is not in `sum` yet.
class DurationHistogram {
 public:
  /// Upper bounds in seconds, ascending; what is longer falls into one bucket more.
  static constexpr std::array kBounds = {25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3,
                                         25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0,  2.5,    5.0,  10.0};

  void observe(Nanoseconds duration);

  struct Snapshot {
    std::vector<uint64_t> counts;  ///< one a bound, not cumulative, and one for the rest
    double sum = 0;                ///< seconds
  };
  Snapshot snapshot() const;

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts_{};
  std::atomic<int64_t> sum_ns_{0};
};

/// What happened to the requests of one engine. Thread safe without a lock.
class RequestStats {
 public:
  /// Nothing: a success.
  void count(std::optional<Kind> failure) { ++outcomes_[index(failure)]; }
  uint64_t outcomes(std::optional<Kind> failure) const { return outcomes_[index(failure)]; }

  DurationHistogram queue;    ///< from arrival to the start of the execution
  DurationHistogram compute;  ///< the execution
  DurationHistogram total;    ///< from arrival to completion, of successes

 private:
  static size_t index(std::optional<Kind> failure) { return failure ? static_cast<size_t>(*failure) + 1 : 0; }

  std::array<std::atomic<uint64_t>, kAllKinds.size() + 1> outcomes_{};
};

}  // namespace trtserve
