#include "core/failure_log.h"

#include <utility>

#include <c10/util/StringUtil.h>

#include "core/log.h"

namespace trtserve {

std::optional<TimePoint> FailureLog::failed(TimePoint now, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (next_) {
    ++unreported_;
    last_ = why;
    return std::nullopt;
  }
  next_ = now + kInterval;
  log(Severity::Error, "executions", c10::str("an execution of ", label_, " failed: ", why));
  return next_;
}

std::optional<TimePoint> FailureLog::report(TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (!next_ || now < *next_) return next_;
  next_.reset();
  if (const auto count = std::exchange(unreported_, 0); count > 0) {
    log(Severity::Error, "executions",
        c10::str(count, " more executions of ", label_, " failed within a minute; the last: ", last_));
    next_ = now + kInterval;
  }
  return next_;
}

}  // namespace trtserve
