#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "core/clock.h"
#include "core/engine.h"

namespace trtserve {

/// One thread that calls back for each engine at the earliest of the times requested for it. Sleeps while there is
/// none. Thread safe.
class DeadlineTimer {
 public:
  /// `on_time(id, now)` handles everything of the engine that is due and returns the time of its next call.
  using OnTime = std::function<std::optional<TimePoint>(EngineId id, TimePoint now)>;

  DeadlineTimer(Clock& clock, OnTime on_time);
  ~DeadlineTimer();
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;

  /// Calls back for the engine no later than `time`.
  void wake_by(EngineId id, TimePoint time);

 private:
  void schedule(EngineId id, TimePoint time);
  void run();

  Clock& clock_;
  const OnTime on_time_;
  std::mutex mutex_;  // protects all below but the thread
  std::condition_variable changed_;
  std::map<EngineId, TimePoint> next_;                 // by engine
  std::set<std::pair<TimePoint, EngineId>> in_order_;  // the same
  bool stopping_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace trtserve
