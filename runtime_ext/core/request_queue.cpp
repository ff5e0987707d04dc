#include "core/request_queue.h"

#include <algorithm>

namespace trtserve {

void RequestQueue::push(Request&& request) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) fail(Kind::Unavailable, "the engine is being unloaded");
    if (waiting_.size() >= bound_) {
      fail(Kind::QueueFull, "the engine's queue is full: ", bound_, " requests wait; try again later");
    }
    waiting_.push_back(std::move(request));
  }
  changed_.notify_one();
}

std::optional<Request> RequestQueue::pop() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
  if (waiting_.empty()) return std::nullopt;
  std::optional<Request> next = std::move(waiting_.front());
  waiting_.pop_front();
  return next;
}

std::optional<Request> RequestQueue::remove(Ticket ticket) {
  std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const Request& r) { return r.ticket == ticket; });
  if (found == waiting_.end()) return std::nullopt;
  std::optional<Request> removed = std::move(*found);
  waiting_.erase(found);
  return removed;
}

std::vector<Request> RequestQueue::expire(TimePoint now) {
  std::lock_guard lock(mutex_);
  const auto first_expired = std::stable_partition(waiting_.begin(), waiting_.end(),
                                                   [&](const Request& r) { return !r.deadline || now < *r.deadline; });
  std::vector<Request> expired(std::make_move_iterator(first_expired), std::make_move_iterator(waiting_.end()));
  waiting_.erase(first_expired, waiting_.end());
  return expired;
}

std::optional<TimePoint> RequestQueue::next_deadline() const {
  std::lock_guard lock(mutex_);
  std::optional<TimePoint> earliest;
  for (const auto& request : waiting_) {
    if (request.deadline && (!earliest || *request.deadline < *earliest)) earliest = request.deadline;
  }
  return earliest;
}

void RequestQueue::close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

std::vector<Request> RequestQueue::abandon() {
  close();
  std::lock_guard lock(mutex_);
  std::vector<Request> abandoned(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(waiting_.end()));
  waiting_.clear();
  return abandoned;
}

size_t RequestQueue::depth() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace trtserve
