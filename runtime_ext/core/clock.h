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

  /// Waits on `changed` until it is notified or `deadline` has come; may return early, as any wait does.
  virtual void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) override;
};

/// Stands still until it is told otherwise; for tests.
class ManualClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(Nanoseconds(now_ns_.load())); }
  void advance(Nanoseconds by) { now_ns_ += by.count(); }
  void wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) override;

 private:
  std::atomic<int64_t> now_ns_{0};
};

}  // namespace trtserve
