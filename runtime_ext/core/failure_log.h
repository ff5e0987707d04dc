#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "core/clock.h"

namespace trtserve {

/// Logs an engine's failed executions: the first immediately, then once a minute how many more there were, until a
/// minute passes without any. Thread safe.
class FailureLog {
 public:
  static constexpr Nanoseconds kInterval = std::chrono::minutes(1);

  explicit FailureLog(std::string label) : label_(std::move(label)) {}

  /// Notes a failed execution. Returns when to call report(), unless a call is already due.
  std::optional<TimePoint> failed(TimePoint now, const std::string& why);

  /// Logs what is due. Returns when to call again.
  std::optional<TimePoint> report(TimePoint now);

 private:
  const std::string label_;
  std::mutex mutex_;
  std::optional<TimePoint> next_;  // guarded by mutex_; when the current interval ends, if any
  uint64_t unreported_ = 0;        // guarded by mutex_
  std::string last_;               // guarded by mutex_; why the last one failed
};

}  // namespace trtserve
