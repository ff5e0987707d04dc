#include "core/deadline_timer.h"

#include <pthread.h>

namespace trtserve {

DeadlineTimer::DeadlineTimer(Clock& clock, OnTime on_time)
    : clock_(clock), on_time_(std::move(on_time)), thread_([this] { run(); }) {}

DeadlineTimer::~DeadlineTimer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void DeadlineTimer::wake_by(TimePoint time) {
  std::lock_guard lock(mutex_);
  if (next_ && *next_ <= time) return;
  next_ = time;
  changed_.notify_all();
}

void DeadlineTimer::run() {
  pthread_setname_np(pthread_self(), "trt-deadlines");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!next_) {
      changed_.wait(lock);
    } else if (clock_.glance() < *next_) {
      clock_.wait_until(lock, changed_, *next_);
    } else {
      // Reset before the call, so that a deadline set during the call is kept.
      next_.reset();
      lock.unlock();
      const auto wanted = on_time_(clock_.glance());
      lock.lock();
      if (wanted && (!next_ || *wanted < *next_)) next_ = wanted;
    }
  }
}

}  // namespace trtserve
