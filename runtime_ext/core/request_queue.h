#pragma once

#include <array>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "core/batch_delay.h"
#include "core/device_share.h"
#include "core/request.h"

namespace trtserve {

/// Requests that run as one execution.
struct Batch {
  std::vector<Request> requests;            ///< at least one, unless all had expired
  std::list<Request> expired;               ///< whose deadline came before they could run
  int64_t items = 0;                        ///< of `requests`
  std::unique_ptr<DeviceShare::Turn> turn;  ///< to execute them
};

/// Those of a batch's requests that run together: all of them, or one.
struct Part {
  std::span<Request> requests;  ///< at least one
  int64_t items = 0;            ///< of `requests`
};

/// Where the requests of one engine wait until they are joined into a batch.
///
/// Requests of one shape (but for the batch dimension) wait in one lane, by priority and then by arrival; they are
/// never overtaken by others of their lane and priority. A batch is formed when an instance asks for one, from the
/// lane whose first request is the most urgent among those that are ready: full, of a preferred size, held back for
/// long enough, or with nobody else to wait for. A request whose deadline would come first is not held back at all.
///
/// The device's turn is waited for before the batch is formed: until then its requests can still be joined by others,
/// overtaken by more urgent ones, cancelled and expire.
///
/// It owns a request from push() until it gives it out, once, through pop(), remove(), expire() or abandon().
/// Thread safe.
class RequestQueue {
 public:
  /// All but the numbers outlive the queue, which takes `bound` requests and serves `instances` threads.
  RequestQueue(const BatchRules& rules, size_t bound, size_t instances, DeviceShare::Member& share, Clock& clock);

  /// QueueFull at the bound, with the time to come again; Unavailable once closed. The request is then still the
  /// caller's.
  void push(Request&& request);

  /// Blocks for the next batch; nothing once the queue is closed and empty.
  std::optional<Batch> pop();

  /// `requests` of a batch that pop() gave out have run, for `compute`. To be told before their completions are:
  /// who answers one with the next request finds itself alone then.
  void done(size_t requests, Nanoseconds compute);

  /// Takes a waiting request out; nothing where it does not wait here.
  std::optional<Request> remove(Ticket ticket);

  /// Takes out every request whose deadline has come.
  std::list<Request> expire(TimePoint now);

  /// The earliest deadline that waits.
  std::optional<TimePoint> next_deadline() const;

  /// Gives out each request by itself from now on.
  void stop_joining();

  /// Refuses new requests; what waits can still be taken, and no batch waits for more.
  void close();

  /// Closes, and takes out what waits.
  std::list<Request> abandon();

  size_t depth() const;

 private:
  struct Lane {
    std::array<std::list<Request>, kPriorities> waiting;  // each in the order of arrival
    int64_t items = 0;                                    // of all that wait, as counted()
    int64_t limit = 1;                                    // items that a batch of this shape may have

    bool empty() const;
    const Request& first() const;
    TimePoint oldest() const;
    std::optional<TimePoint> earliest_deadline() const;
  };
  using Lanes = std::map<std::vector<int64_t>, Lane>;

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
  const size_t instances_;
  DeviceShare::Member& share_;  // its lock is never asked for with ours held
  Clock& clock_;
  mutable std::mutex mutex_;  // protects all below; held for bookkeeping only
  std::condition_variable changed_;
  Lanes lanes_;                 // by shape class; a few empty ones are kept for their next request
  size_t waiting_ = 0;          // in all lanes
  size_t running_ = 0;          // given out by pop() and not done()
  size_t idle_ = 0;             // instances in pop()
  bool waking_ = false;         // one of them was notified and has not looked yet
  size_t with_deadline_ = 0;    // of the waiting ones
  Nanoseconds per_request_{0};  // execution time a request: an average that forgets
  BatchDelay delay_;
  int64_t max_items_;  // the rules', until joining stops
  bool closed_ = false;
};

}  // namespace trtserve
