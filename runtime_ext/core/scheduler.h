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

/// Passes requests to their engines' queues. Thread safe.
class Scheduler {
 public:
  explicit Scheduler(Surroundings surroundings);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Starts the engine's instances.
  void serve(std::shared_ptr<Engine> engine, Forward forward);

  /// Checks a request's description of its inputs; see ServedEngine::sign. NotFound for an unknown ID.
  std::shared_ptr<const Signature> sign(EngineId id, const std::vector<TensorShape>& tensors) const;

  /// Queues a request whose signature, data, owner and priority are set. On a refusal (an Error of any kind) the
  /// request still belongs to the caller.
  Ticket submit(EngineId id, Request&& request, std::optional<Nanoseconds> timeout);

  /// Ends a waiting request as Cancelled; false if it has started or ended.
  bool cancel(EngineId id, Ticket ticket);

  /// Takes the engine out of service; see ServedEngine::stop. NotFound for an unknown ID; Conflict if another call is
  /// already stopping it.
  size_t stop(EngineId id, Nanoseconds drain);

  std::vector<std::shared_ptr<ServedEngine>> served() const;

  /// NotFound for an unknown ID.
  std::shared_ptr<ServedEngine> find(EngineId id) const;

  const LeftBehind& left_behind() const { return *surroundings_.left_behind; }

 private:
  std::optional<TimePoint> on_time(TimePoint now);
  std::shared_ptr<DeviceShare> share_of(at::Device device);

  const Surroundings surroundings_;
  std::atomic<Ticket> last_ticket_{0};
  std::mutex shares_mutex_;
  std::map<std::string, std::shared_ptr<DeviceShare>>
      shares_;                       // guarded by shares_mutex_; by device; entries are never removed
  mutable std::shared_mutex mutex_;  // held for look-ups and changes only
  std::map<EngineId, std::shared_ptr<ServedEngine>> served_;  // guarded by mutex_
  std::set<EngineId> stopping_;                               // guarded by mutex_; a subset of served_
  DeadlineTimer timer_;                                       // last: its thread calls on_time()
};

}  // namespace trtserve
