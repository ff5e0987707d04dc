#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace trtserve {

using TimePoint = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

/// The clock for deadlines and durations, injected so that tests can stop it. Thread safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;

  /// The time for a comparison with a deadline; not for measurements.
  virtual TimePoint glance() const { return now(); }

  /// The wall clock's time since 1970, for people to read; it can be set, so it is not for measurements.
  virtual std::chrono::milliseconds wall_time() const = 0;

  /// Waits on `changed` until it is notified or `deadline` passes; may return early, like any wait.
  virtual void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  std::chrono::milliseconds wall_time() const override;
  void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) override;
};

/// Stands still at 1970 until a test advances it. With a tick, it moves on by that much after each call of now(), so
/// that an interval in which a test cannot intervene also has a known length.
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
