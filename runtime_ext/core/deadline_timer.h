#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "core/clock.h"

namespace trtserve {

/// One thread that calls back when the earliest of the times it was told has come. Sleeps while it knows
/// none. Thread safe.
class DeadlineTimer {
 public:
  /// `on_time(now)` handles everything that is due and returns the next time it wants to be called.
  using OnTime = std::function<std::optional<TimePoint>(TimePoint now)>;

  DeadlineTimer(Clock& clock, OnTime on_time);
  ~DeadlineTimer();
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;

  /// Calls back at `time` at the latest.
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
