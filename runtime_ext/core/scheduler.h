#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <vector>

#include "core/deadline_timer.h"
#include "core/served_engine.h"

namespace trtserve {

/// Takes requests to the queues of their engines. Thread safe.
class Scheduler {
 public:
  explicit Scheduler(Surroundings surroundings);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Starts the engine's instances.
  void serve(std::shared_ptr<Engine> engine, Forward forward);

  /// Checks what requests say of their inputs; see ServedEngine::sign. NotFound.
  std::shared_ptr<const Signature> sign(EngineId id, const std::vector<TensorShape>& tensors) const;

  /// Queues a request, of which signature, data, owner and priority are there. On a refusal (an Error of any kind)
  /// it is still the caller's.
  Ticket submit(EngineId id, Request&& request, std::optional<Nanoseconds> timeout);

  /// Ends a waiting request as Cancelled; false where it has started or ended.
  bool cancel(EngineId id, Ticket ticket);

  /// Takes the engine out of service; see ServedEngine::stop. NotFound; Conflict where another call is at it.
  size_t stop(EngineId id, Nanoseconds drain);

  std::vector<std::shared_ptr<ServedEngine>> served() const;

  /// NotFound.
  std::shared_ptr<ServedEngine> find(EngineId id) const;

  const LeftBehind& left_behind() const { return *surroundings_.left_behind; }

 private:
  std::optional<TimePoint> on_time(TimePoint now);
  std::shared_ptr<DeviceShare> share_of(at::Device device);

  const Surroundings surroundings_;
  std::atomic<Ticket> last_ticket_{0};
  std::mutex shares_mutex_;
  std::map<std::string, std::shared_ptr<DeviceShare>> shares_;  // guarded by shares_mutex_; by device, never removed
  mutable std::shared_mutex mutex_;                             // held for look-ups and changes only
  std::map<EngineId, std::shared_ptr<ServedEngine>> served_;    // guarded by mutex_
  std::set<EngineId> stopping_;                                 // guarded by mutex_; a part of served_
  DeadlineTimer timer_;                                         // last: its thread calls on_time()
};

}  // namespace trtserve
