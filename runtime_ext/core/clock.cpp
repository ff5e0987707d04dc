#include "core/clock.h"

namespace trtserve {

void SteadyClock::wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) {
  changed.wait_until(lock, deadline);
}

void ManualClock::wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, TimePoint deadline) {
  // advance() knows nobody's condition variable, so look again every millisecond.
  if (now() < deadline) changed.wait_for(lock, std::chrono::milliseconds(1));
}

}  // namespace trtserve
