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

  ~Scheduler() { close(); }

  /// Ends the worker threads. Call it once every engine is out of service; no other may enter it.
  void close();

  /// Takes the engine into service, in this place (see kBeside). It goes on counting where a stop() kept what it had
  /// counted; one beside another counts with that.
  void serve(EngineId place, std::shared_ptr<Engine> engine, Forward forward);

  /// Lets an engine and the one beside it change places: from now on the other gets the requests. Those that were
  /// accepted stay where they are. NotFound if one is missing; Conflict if one is being unloaded.
  void exchange(EngineId id);

  /// Checks a request's description of its inputs; see ServedEngine::sign. NotFound for an unknown ID.
  std::shared_ptr<const Signature> sign(EngineId place, const std::vector<TensorShape>& tensors,
                                        const std::string& called) const;

  /// Queues a request whose signature, data, owner and priority are set. On a refusal (an Error of any kind) the
  /// request still belongs to the caller.
  Ticket submit(EngineId id, Request&& request, std::optional<Nanoseconds> timeout);

  /// From now on, submit() may hold a request that finds its engine idle and that takes little time, until the thread
  /// that submits requests calls run_held(). So a lone request costs no wake-up of another thread, and nobody's time
  /// but its own. The requests that are held together take at most kHeldTime, as far as earlier ones tell.
  void hold_short_requests(bool hold) { holds_ = hold; }

  /// Runs the held requests on the calling thread. Returns false if there was none; otherwise the completion queue must
  /// be emptied with take_now().
  bool run_held();

  /// Ends a waiting request as Cancelled; false if it has started or ended.
  bool cancel(EngineId id, Ticket ticket);

  /// Takes the engine out of service; see ServedEngine::stop. With `keep_counts`, what it has counted stays for its
  /// next life; that of one beside another goes on in that. NotFound for an unknown ID; Conflict if another call is
  /// already stopping it.
  size_t stop(EngineId place, Nanoseconds drain, bool keep_counts = false);

  /// The counts of an engine that is out of service.
  struct Former {
    EngineId id;
    Counts counts;
  };
  std::vector<Former> former() const;
  /// Drops the kept counts of an engine that is out of service.
  void forget(EngineId id);

  /// Without those beside others.
  std::vector<std::shared_ptr<ServedEngine>> served() const;

  /// All of them, by place.
  std::map<EngineId, std::shared_ptr<ServedEngine>> places() const;

  /// Null if the engine is not served.
  std::shared_ptr<ServedEngine> find_if_served(EngineId place) const;

  /// NotFound for an unknown ID.
  std::shared_ptr<ServedEngine> find(EngineId place) const;

  const LeftBehind& left_behind() const { return *surroundings_.left_behind; }

 private:
  static constexpr std::chrono::microseconds kHeldTime{250};

  std::optional<TimePoint> on_time(EngineId id, TimePoint now);
  DevicePart part_of(at::Device device);
  bool may_hold(const Request& request);

  const Surroundings surroundings_;
  std::atomic<Ticket> last_ticket_{0};
  std::mutex devices_mutex_;
  std::map<std::string, DevicePart> devices_;  // guarded by devices_mutex_; entries are never removed
  std::atomic<bool> holds_{false};
  std::mutex held_mutex_;                            // held for a moment
  std::vector<std::shared_ptr<ServedEngine>> held_;  // guarded by held_mutex_; each has a held request, or had one
  Nanoseconds held_time_{0};                         // guarded by held_mutex_: what these will take
  mutable std::shared_mutex mutex_;                  // held for look-ups and changes only
  std::map<EngineId, std::shared_ptr<ServedEngine>> served_;  // guarded by mutex_; by place
  std::set<EngineId> stopping_;                               // guarded by mutex_; a subset of those of served_
  std::map<EngineId, Former> former_;                         // guarded by mutex_; none of them is in served_
  DeadlineTimer timer_;                                       // last: its thread calls on_time()
};

}  // namespace trtserve
