#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include <c10/util/ArrayRef.h>

#include "core/clock.h"
#include "core/error.h"

namespace trtserve {

/// A histogram over fixed bounds. Thread safe without a lock: a reader may see one observation in `counts` that
/// is not in `sum` yet.
class Histogram {
 public:
  /// `bounds` are upper ones, ascending, and live for ever; what is greater falls into one bucket more.
  explicit Histogram(c10::ArrayRef<double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void observe(double value);
  void observe(Nanoseconds duration) { observe(std::chrono::duration<double>(duration).count()); }

  struct Snapshot {
    std::vector<double> bounds;
    std::vector<uint64_t> counts;  ///< one a bound, not cumulative, and one for the rest
    double sum = 0;
  };
  Snapshot snapshot() const;

 private:
  const c10::ArrayRef<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

inline constexpr std::array kSeconds = {25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3,
                                        25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0,  2.5,    5.0,  10.0};
inline constexpr std::array kItems = {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0};

/// What happened to the requests of one engine. Thread safe without a lock.
class RequestStats {
 public:
  /// Nothing: a success.
  void count(std::optional<Kind> failure) { ++outcomes_[index(failure)]; }
  uint64_t outcomes(std::optional<Kind> failure) const { return outcomes_[index(failure)]; }

  Histogram queue{kSeconds};    ///< seconds from arrival to the start of the execution
  Histogram compute{kSeconds};  ///< seconds of the execution, its batch's gathering and scattering with it
  Histogram total{kSeconds};    ///< seconds from arrival to completion, of successes
  Histogram batch{kItems};      ///< items of an execution; one observation an execution

 private:
  static size_t index(std::optional<Kind> failure) { return failure ? static_cast<size_t>(*failure) + 1 : 0; }

  std::array<std::atomic<uint64_t>, kAllKinds.size() + 1> outcomes_{};
};

}  // namespace trtserve
