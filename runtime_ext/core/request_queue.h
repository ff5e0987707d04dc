#pragma once

#include <array>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "core/batch_delay.h"
#include "core/device_share.h"
#include "core/request.h"

namespace trtserve {

/// Requests that run as one execution.
struct Batch {
  std::vector<Request> requests;            ///< at least one, unless all had expired or the replica has retired
  std::list<Request> expired;               ///< requests whose deadline passed before they could run
  int64_t items = 0;                        ///< total of `requests`
  std::unique_ptr<DeviceShare::Turn> turn;  ///< the turn to execute them
  std::optional<size_t> call;               ///< another instance to give a thread, for requests that are left
};

/// The requests of a batch that run together: all, or one.
struct Part {
  std::span<Request> requests;  ///< at least one
  int64_t items = 0;            ///< total of `requests`
};

/// Where an instance works.
struct InstancePlace {
  size_t replica;               ///< the number of its replica in the engine
  DeviceShare::Member* member;  ///< the engine's membership in the share of that replica's device
};

/// Holds the waiting requests of one engine and joins them into batches.
///
/// Requests with the same shapes (except for the batch dimension) wait in one lane, by priority and then by arrival; no
/// request overtakes another of its lane and priority. When an instance asks for a batch, it comes from the ready lane
/// whose first request is the most urgent. A lane is ready if its batch is full, has a preferred size, has been held
/// back long enough, or if no more requests are expected. A request whose deadline would pass first is not held back.
///
/// An instance has a thread only while requests wait or run: push() and pop() name the instance that needs one next,
/// one of the replica that has the fewest at work, and an instance whose pop() finds nothing gives its thread up. A
/// request that finds the engine idle may be held: then its submitter runs it with take_held(), if no other has come by
/// then.
///
/// An instance waits for the device's turn before it forms the batch: until then requests can still join, be overtaken
/// by more urgent ones, be cancelled, or expire.
///
/// The queue owns a request from push() until it hands it out, once, through pop(), remove(), expire() or abandon().
/// Thread safe.
class RequestQueue {
 public:
  /// The queue accepts `bound` requests and serves an instance in each of the `places`: at least one, in the order of
  /// their replicas. `rules`, the members in the places and `clock` outlive it.
  RequestQueue(const BatchRules& rules, size_t bound, std::vector<InstancePlace> places, Clock& clock);

  /// What push() did with a request, beside queueing it.
  struct Pushed {
    std::optional<size_t> call;  ///< the instance that its caller must give a thread now
    bool held = false;           ///< the caller must call take_held() soon
  };

  /// Throws QueueFull at the bound, with the time to retry, and Unavailable once closed; the request then still belongs
  /// to the caller. `may_hold`: the caller may run the request itself.
  Pushed push(Request&& request, bool may_hold = false);

  /// The next batch for an instance that has a thread; waits while requests are held back. Returns nothing once no
  /// request waits, or its replica has retired: the instance must then give up its thread.
  std::optional<Batch> pop(size_t instance);

  /// The held request as a batch, if it is still alone and has a turn; otherwise only `call` may be set, for what
  /// waits. It needs no instance: nothing else of the engine runs when it begins, and it is over soon.
  struct Held {
    std::optional<Batch> batch;
    std::optional<size_t> call;
  };
  Held take_held();

  /// Notes that `requests` of a batch from pop() have run for `compute`. Call it before their completions are pushed: a
  /// client that answers a completion with its next request is then alone.
  void done(size_t requests, Nanoseconds compute);

  /// From now on, gives no more batches to the replica's instances. Returns the instance of another that needs a
  /// thread for the requests that wait. Retire no replica that is the last.
  std::optional<size_t> retire(size_t replica);

  /// Removes a waiting request; returns nothing if it does not wait here.
  std::optional<Request> remove(Ticket ticket);

  /// Removes every request whose deadline has passed.
  std::list<Request> expire(TimePoint now);

  /// The earliest deadline of a waiting request.
  std::optional<TimePoint> next_deadline() const;

  /// From now on, hands out each request alone.
  void stop_joining();

  /// Refuses new requests; waiting ones can still be taken, and no batch waits for more.
  void close();

  /// Closes the queue and removes the waiting requests.
  std::list<Request> abandon();

  size_t depth() const;

 private:
  struct Lane {
    std::array<std::list<Request>, kPriorities> waiting;  // each in the order of arrival
    int64_t items = 0;                                    // sum of counted() of the waiting requests
    int64_t limit = 1;                                    // the most items in a batch of this shape

    bool empty() const;
    const Request& first() const;
    TimePoint oldest() const;
    std::optional<TimePoint> earliest_deadline() const;
  };
  using Lanes = std::map<std::vector<int64_t>, Lane>;

  bool can_hold(const Request& request) const;
  std::optional<size_t> call_instance();
  std::optional<size_t> instance_to_call() const;
  Lane* most_urgent(TimePoint now, std::optional<TimePoint>& next);
  TimePoint ready_at(const Lane& lane, TimePoint now) const;
  int64_t preferred_items(const Lane& lane) const;
  int64_t target_items(const Lane& lane, TimePoint now) const;
  int64_t counted(const Request& request) const;
  Batch take(Lane& lane, TimePoint now);
  void took_out(Lane& lane, const Request& request);
  template <typename Wanted>
  std::list<Request> take_out(const Wanted& wanted);
  void forget_empty_lanes();
  Nanoseconds time_to_drain() const;

  const BatchRules& rules_;
  const size_t bound_;
  const std::vector<InstancePlace> places_;  // of each instance; the members' locks are never taken while ours is held
  Clock& clock_;
  mutable std::mutex mutex_;  // protects all below; held for bookkeeping only
  std::condition_variable changed_;
  Lanes lanes_;                 // by shape class; a few empty lanes are kept for their next request
  size_t waiting_ = 0;          // in all lanes
  size_t running_ = 0;          // handed out by pop(), not yet done()
  std::vector<size_t> asleep_;  // instances without a thread, the one that ran last at the end
  std::set<size_t> retired_;    // replicas
  size_t watching_ = 0;         // instances in pop() that wait until a lane is ready
  bool waking_ = false;         // an instance was called or notified, and has not looked yet
  bool held_ = false;           // the waiting request is left to take_held(), unless another comes
  size_t with_deadline_ = 0;    // waiting requests with a deadline
  Nanoseconds per_request_{0};  // moving average of the execution time per request
  BatchDelay delay_;
  int64_t max_items_;  // from the rules, until joining stops
  bool closed_ = false;
};

}  // namespace trtserve
