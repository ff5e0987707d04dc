#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <shared_mutex>
#include <vector>

#include "core/deadline_timer.h"
#include "core/inputs.h"
#include "core/served_engine.h"

namespace trtserve {

/// Takes requests to the queues of their engines. Thread safe.
class Scheduler {
 public:
  /// `completions` and `clock` outlive the scheduler.
  Scheduler(CompletionQueue& completions, Clock& clock);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Starts the engine's instances.
  void serve(std::shared_ptr<Engine> engine, Forward forward);

  /// Validates and queues a request. `owner` keeps the memory of `inputs`, and goes on to the completion
  /// once the request is accepted; on a refusal (an Error of any kind) it is left to the caller.
  Ticket submit(EngineId id, const std::vector<HostTensor>& inputs, std::unique_ptr<InputOwner>& owner,
                std::optional<Nanoseconds> timeout);

  /// Ends a waiting request as Cancelled; false where it has started or ended.
  bool cancel(EngineId id, Ticket ticket);

  /// Takes the engine out of service; see ServedEngine::stop. NotFound; Conflict where another call is at it.
  void stop(EngineId id, Nanoseconds drain);

  std::vector<std::shared_ptr<ServedEngine>> served() const;

 private:
  std::shared_ptr<ServedEngine> find(EngineId id) const;
  std::optional<TimePoint> expire(TimePoint now);

  CompletionQueue& completions_;
  Clock& clock_;
  std::atomic<Ticket> last_ticket_{0};
  mutable std::shared_mutex mutex_;                           // held for look-ups and changes only
  std::map<EngineId, std::shared_ptr<ServedEngine>> served_;  // guarded by mutex_
  std::set<EngineId> stopping_;                               // guarded by mutex_; a part of served_
  DeadlineTimer timer_;                                       // last: its thread calls expire()
};

}  // namespace trtserve
