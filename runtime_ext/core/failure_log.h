#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "core/clock.h"

namespace trtserve {

/// Tells the log of an engine's failed executions: of the first at once, and then once a minute how many more there
/// were, until there are none. Thread safe.
class FailureLog {
 public:
  static constexpr Nanoseconds kInterval = std::chrono::minutes(1);

  explicit FailureLog(std::string label) : label_(std::move(label)) {}

  /// An execution has failed. When to call tell(), where that is not known already.
  std::optional<TimePoint> failed(TimePoint now, const std::string& why);

  /// Tells what is due. When to call again.
  std::optional<TimePoint> tell(TimePoint now);

 private:
  const std::string label_;
  std::mutex mutex_;
  std::optional<TimePoint> next_;  // guarded by mutex_; when the interval ends, if one has begun
  uint64_t untold_ = 0;            // guarded by mutex_
  std::string last_;               // guarded by mutex_; why the last of them failed
};

}  // namespace trtserve
