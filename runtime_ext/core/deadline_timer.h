#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "core/clock.h"

namespace trtserve {

/// One thread that calls back at the earliest of the requested times. Sleeps while there is none. Thread safe.
class DeadlineTimer {
 public:
  /// `on_time(now)` handles everything that is due and returns the time of its next call.
  using OnTime = std::function<std::optional<TimePoint>(TimePoint now)>;

  DeadlineTimer(Clock& clock, OnTime on_time);
  ~DeadlineTimer();
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;

  /// Calls back no later than `time`.
  void wake_by(TimePoint time);

 private:
  void run();

  Clock& clock_;
  const OnTime on_time_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<TimePoint> next_;  // guarded by mutex_
  bool stopping_ = false;          // guarded by mutex_
  std::thread thread_;             // last: it uses everything above
};

}  // namespace trtserve
