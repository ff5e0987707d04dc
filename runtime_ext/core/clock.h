#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace trtserve {

using TimePoint = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

/// The time of deadlines and durations, injected so that tests can hold it still. Thread safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;

  /// The time for callers that only compare it with a deadline, and measure nothing with it.
  virtual TimePoint glance() const { return now(); }

  /// The wall clock's time since 1970, to tell people a date: it may be set, so nothing is measured with it.
  virtual std::chrono::milliseconds wall_time() const = 0;

  /// Waits on `changed` until it is notified or `deadline` has come; may return early, as any wait does.
  virtual void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  std::chrono::milliseconds wall_time() const override;
  void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) override;
};

/// Stands still until it is told otherwise, at 1970 first; for tests. With a tick it moves on by that much whenever it
/// has been looked at with now(), so that also a time in which nothing can be held has a length that is known.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Nanoseconds tick = Nanoseconds(0)) : tick_ns_(tick.count()) {}
  TimePoint now() const override { return TimePoint(Nanoseconds(now_ns_.fetch_add(tick_ns_))); }
  TimePoint glance() const override { return TimePoint(Nanoseconds(now_ns_.load())); }
  std::chrono::milliseconds wall_time() const override;
  void advance(Nanoseconds by) { now_ns_ += by.count(); }
  void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) override;

 private:
  const int64_t tick_ns_;
  mutable std::atomic<int64_t> now_ns_{0};
};

}  // namespace trtserve
