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

void DeadlineTimer::wake_by(EngineId id, TimePoint time) {
  const std::lock_guard lock(mutex_);
  schedule(id, time);
}

/// Call with mutex_ held.
void DeadlineTimer::schedule(EngineId id, TimePoint time) {
  const auto [known, is_new] = next_.try_emplace(id, time);
  if (!is_new) {
    if (known->second <= time) return;
    in_order_.erase({std::exchange(known->second, time), id});
  }
  const auto place = in_order_.emplace(time, id).first;
  if (place == in_order_.begin()) changed_.notify_all();
}

void DeadlineTimer::run() {
  pthread_setname_np(pthread_self(), "trt-deadlines");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (in_order_.empty()) {
      changed_.wait(lock);
    } else if (const auto [time, id] = *in_order_.begin(); clock_.glance() < time) {
      clock_.wait_until(lock, changed_, time);
    } else {
      // Taken out before the call, so that a deadline set during the call is kept.
      in_order_.erase(in_order_.begin());
      next_.erase(id);
      lock.unlock();
      const auto wanted = on_time_(id, clock_.glance());
      lock.lock();
      if (wanted) schedule(id, *wanted);
    }
  }
}

}  // namespace trtserve
