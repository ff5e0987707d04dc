#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "core/request.h"

namespace trtserve {

/// Where the requests of one engine wait, first come first served. It owns a request from push() until it
/// gives it out, once, through pop(), remove(), expire() or abandon(). Thread safe.
class RequestQueue {
 public:
  explicit RequestQueue(size_t bound) : bound_(bound) {}

  /// QueueFull at the bound, Unavailable once closed; the request is then still the caller's.
  void push(Request&& request);

  /// Blocks for the next request; nothing once the queue is closed and empty.
  std::optional<Request> pop();

  /// Takes a waiting request out; nothing where it does not wait here.
  std::optional<Request> remove(Ticket ticket);

  /// Takes out every request whose deadline has come.
  std::vector<Request> expire(TimePoint now);

  /// The earliest deadline that waits.
  std::optional<TimePoint> next_deadline() const;

  /// Refuses new requests; what waits can still be taken.
  void close();

  /// Closes, and takes out what waits.
  std::vector<Request> abandon();

  size_t depth() const;

 private:
  const size_t bound_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request> waiting_;  // guarded by mutex_
  bool closed_ = false;          // guarded by mutex_
};

}  // namespace trtserve
