#include "core/clock.h"

namespace trtserve {

std::chrono::milliseconds SteadyClock::wall_time() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
}

std::chrono::milliseconds ManualClock::wall_time() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Nanoseconds(now_ns_.load()));
}

void SteadyClock::wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) {
  changed.wait_until(lock, deadline);
}

void ManualClock::wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) {
  // advance() cannot notify the caller's condition variable, so look again every millisecond.
  if (glance() < deadline) changed.wait_for(lock, std::chrono::milliseconds(1));
}

}  // namespace trtserve
