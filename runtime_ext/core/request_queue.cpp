#include "core/request_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace trtserve {

namespace {

constexpr size_t kEmptyLanesKept = 16;
constexpr int kMemory = 16;  // executions in the average time per request

bool has_expired(const Request& request, TimePoint now) { return request.deadline && *request.deadline <= now; }

}  // namespace

bool RequestQueue::Lane::empty() const {
  return std::all_of(waiting.begin(), waiting.end(), [](const auto& level) { return level.empty(); });
}

const Request& RequestQueue::Lane::first() const {
  return std::find_if(waiting.begin(), waiting.end(), [](const auto& level) { return !level.empty(); })->front();
}

TimePoint RequestQueue::Lane::oldest() const {
  TimePoint oldest = TimePoint::max();
  for (const auto& level : waiting) {
    if (!level.empty()) oldest = std::min(oldest, level.front().arrival);
  }
  return oldest;
}

std::optional<TimePoint> RequestQueue::Lane::earliest_deadline() const {
  std::optional<TimePoint> earliest;
  for (const auto& level : waiting) {
    for (const auto& request : level) {
      if (request.deadline && (!earliest || *request.deadline < *earliest)) earliest = request.deadline;
    }
  }
  return earliest;
}

RequestQueue::RequestQueue(const BatchRules& rules, size_t bound, std::vector<InstancePlace> places, Clock& clock)
    : rules_(rules),
      bound_(bound),
      places_(std::move(places)),
      clock_(clock),
      delay_(rules),
      max_items_(rules.max_items) {
  for (size_t i = places_.size(); i > 0; --i) asleep_.push_back(i - 1);
}

/// The request's items, capped at the batch limit, so that sums do not overflow.
int64_t RequestQueue::counted(const Request& request) const {
  return std::min(request.signature->items, rules_.max_items);
}

RequestQueue::Pushed RequestQueue::push(Request&& request, bool may_hold) {
  const std::lock_guard lock(mutex_);
  if (closed_) fail(Kind::Unavailable, "the engine is being unloaded");
  if (waiting_ >= bound_) {
    throw Error(Kind::QueueFull, c10::str("the engine's queue is full: ", bound_, " requests wait; try again later"),
                time_to_drain());
  }
  auto& lane = lanes_[request.signature->shape_class];
  if (lane.empty()) lane.limit = request.signature->most_items(max_items_);
  auto& level = lane.waiting.at(static_cast<size_t>(request.priority));
  level.push_back(std::move(request));  // may throw, so it comes first
  const Request& pushed = level.back();
  lane.items += counted(pushed);
  with_deadline_ += pushed.deadline ? 1 : 0;
  ++waiting_;
  delay_.arrived(waiting_ + running_);
  held_ = may_hold && can_hold(pushed) && ready_at(lane, pushed.arrival) <= pushed.arrival;
  if (held_) return {std::nullopt, true};
  return {call_instance(), false};
}

/// True if the request, which has just been queued, is the only one, as others were lately, and takes little time.
bool RequestQueue::can_hold(const Request& request) const {
  return waiting_ == 1 && running_ == 0 && delay_.one_by_one() && request.signature->alone.is_quick();
}

/// Has one more instance look at the lanes: returns the one that needs a thread for that. An instance that is already
/// on its way sees every request that waits by then, and calls another for what it leaves. Call with mutex_ held.
std::optional<size_t> RequestQueue::call_instance() {
  if (waking_) return std::nullopt;
  if (watching_ > 0) {
    waking_ = true;
    changed_.notify_one();
    return std::nullopt;
  }
  const auto instance = instance_to_call();
  if (!instance) return std::nullopt;  // each will look when it has finished its batch
  waking_ = true;
  std::erase(asleep_, *instance);
  return instance;
}

/// The sleeping instance that ran last, of the replica with the most that sleep: its device does the least for this
/// engine. Call with mutex_ held.
std::optional<size_t> RequestQueue::instance_to_call() const {
  if (asleep_.empty()) return std::nullopt;
  if (places_.back().replica == 0) return asleep_.back();    // there is only one
  std::vector<size_t> sleeping(places_.back().replica + 1);  // instances by replica
  std::optional<size_t> chosen;
  for (const size_t instance : asleep_) ++sleeping[places_[instance].replica];
  for (const size_t instance : asleep_) {
    if (!chosen || sleeping[places_[instance].replica] >= sleeping[places_[*chosen].replica]) chosen = instance;
  }
  return chosen;
}

std::optional<size_t> RequestQueue::retire(size_t replica) {
  const std::lock_guard lock(mutex_);
  if (!retired_.insert(replica).second) return std::nullopt;
  std::erase_if(asleep_, [&](size_t instance) { return places_[instance].replica == replica; });
  changed_.notify_all();  // those that watch a lane leave
  return waiting_ > 0 && !held_ ? call_instance() : std::nullopt;
}

std::optional<Batch> RequestQueue::pop(size_t instance) {
  const auto& place = places_.at(instance);
  std::unique_ptr<DeviceShare::Turn> turn;
  std::unique_lock lock(mutex_);
  while (true) {
    waking_ = false;
    if (retired_.count(place.replica) != 0) {
      // It may have been on its way for requests that another must now run.
      Batch nothing;
      if (waiting_ > 0 && !held_) nothing.call = call_instance();
      return nothing.call ? std::optional(std::move(nothing)) : std::nullopt;
    }
    const TimePoint now = clock_.now();
    std::optional<TimePoint> next;
    // An instance that has just finished its batch leaves a held request alone.
    Lane* lane = held_ ? nullptr : most_urgent(now, next);
    if ((lane != nullptr) != (turn != nullptr)) {
      // The turn is taken without the lock, so look again: requests may have come or gone.
      lock.unlock();
      turn = lane != nullptr ? std::make_unique<DeviceShare::Turn>(*place.member) : nullptr;
      lock.lock();
    } else if (lane != nullptr) {
      Batch batch = take(*lane, now);
      batch.turn = std::move(turn);
      // The remaining requests may be ready too, or need another instance to watch their time.
      if (waiting_ > 0) batch.call = call_instance();
      return batch;
    } else if (next) {
      ++watching_;
      clock_.wait_until(lock, changed_, *next);
      --watching_;
    } else {
      asleep_.push_back(instance);
      return std::nullopt;
    }
  }
}

RequestQueue::Held RequestQueue::take_held() {
  std::unique_ptr<DeviceShare::Turn> turn;
  auto& member = *places_.front().member;
  if (member.take_if_free()) turn = std::make_unique<DeviceShare::Turn>(member, std::adopt_lock);
  const std::lock_guard lock(mutex_);
  if (!std::exchange(held_, false) || waiting_ == 0) return {};
  const TimePoint now = clock_.now();
  std::optional<TimePoint> next;
  Lane* lane = most_urgent(now, next);
  if (turn == nullptr || lane == nullptr) return {std::nullopt, call_instance()};
  Held held{take(*lane, now), std::nullopt};
  held.batch->turn = std::move(turn);
  return held;
}

/// Returns the ready lane whose first request is the most urgent; if none is ready, `next` is when one will be.
RequestQueue::Lane* RequestQueue::most_urgent(TimePoint now, std::optional<TimePoint>& next) {
  Lane* chosen = nullptr;
  const auto urgency = [](const Lane& lane) { return std::pair(lane.first().priority, lane.first().ticket); };
  for (auto& [shape, lane] : lanes_) {
    if (lane.empty()) continue;
    const TimePoint ready = ready_at(lane, now);
    if (ready > now) {
      next = next ? std::min(*next, ready) : ready;
    } else if (chosen == nullptr || urgency(lane) < urgency(*chosen)) {
      chosen = &lane;
    }
  }
  return chosen;
}

/// When the lane's batch may run if no more requests come; `now` or earlier means immediately.
TimePoint RequestQueue::ready_at(const Lane& lane, TimePoint now) const {
  if (closed_ || lane.items >= lane.limit || !delay_.expects_more(waiting_ + running_)) return now;
  // A request without items is never joined.
  if (lane.first().signature->items == 0 || preferred_items(lane) > 0) return now;
  const TimePoint held_until = lane.oldest() + delay_.longest();
  const auto deadline = with_deadline_ > 0 ? lane.earliest_deadline() : std::nullopt;
  return deadline && *deadline <= held_until ? now : held_until;
}

/// The largest preferred batch size that the lane's next requests add up to; 0: none.
int64_t RequestQueue::preferred_items(const Lane& lane) const {
  int64_t preferred = 0;
  int64_t items = 0;
  if (rules_.preferred.empty() || max_items_ == 1) return preferred;
  for (const auto& level : lane.waiting) {
    for (const auto& request : level) {
      items += counted(request);
      if (items > rules_.preferred.back()) return preferred;
      if (std::binary_search(rules_.preferred.begin(), rules_.preferred.end(), items) &&
          request.signature->takes(items)) {
        preferred = items;
      }
    }
  }
  return preferred;
}

/// The number of items that the lane's next batch should have: a preferred size, unless the wait is over.
int64_t RequestQueue::target_items(const Lane& lane, TimePoint now) const {
  if (lane.items >= lane.limit || closed_ || lane.oldest() + delay_.longest() <= now) return lane.limit;
  const int64_t preferred = preferred_items(lane);
  return preferred > 0 ? preferred : lane.limit;
}

Batch RequestQueue::take(Lane& lane, TimePoint now) {
  const int64_t target = target_items(lane, now);
  std::vector<std::list<Request>::iterator> chosen;
  size_t fitting = 0;  // the number of chosen requests, in order, that fit a profile together
  int64_t fitting_items = 0;
  int64_t items = 0;
  Batch batch;
  bool full = false;
  for (auto& level : lane.waiting) {
    for (auto next = level.begin(); next != level.end() && !full;) {
      const auto request = next++;
      if (has_expired(*request, now)) {
        took_out(lane, *request);
        batch.expired.splice(batch.expired.end(), level, request);
        continue;
      }
      // The first request always runs, alone if it must. Empty requests run alone: there is nothing to join.
      full = !chosen.empty() && (request->signature->items > target - items || request->signature->items == 0);
      if (full) break;
      chosen.push_back(request);
      items += request->signature->items;
      if (chosen.size() == 1 || request->signature->takes(items)) {
        fitting = chosen.size();
        fitting_items = items;
      }
      full = items >= target || request->signature->items == 0;
    }
    if (full) break;
  }
  chosen.resize(fitting);
  batch.items = fitting_items;
  batch.requests.reserve(fitting);
  for (const auto& request : chosen) {
    took_out(lane, *request);
    auto& level = lane.waiting.at(static_cast<size_t>(request->priority));
    batch.requests.push_back(std::move(*request));
    level.erase(request);
  }
  held_ = false;
  running_ += batch.requests.size();
  if (!batch.requests.empty()) delay_.began(waiting_ + running_);
  forget_empty_lanes();
  return batch;
}

void RequestQueue::took_out(Lane& lane, const Request& request) {
  lane.items -= counted(request);
  with_deadline_ -= request.deadline ? 1 : 0;
  --waiting_;
}

void RequestQueue::forget_empty_lanes() {
  if (lanes_.size() > kEmptyLanesKept) std::erase_if(lanes_, [](const auto& entry) { return entry.second.empty(); });
}

void RequestQueue::done(size_t requests, Nanoseconds compute) {
  const std::lock_guard lock(mutex_);
  running_ -= requests;
  if (compute == Nanoseconds(0)) return;
  delay_.executed(compute);
  const Nanoseconds each = compute / static_cast<int64_t>(requests);
  per_request_ += per_request_ == Nanoseconds(0) ? each : (each - per_request_) / kMemory;
}

Nanoseconds RequestQueue::time_to_drain() const {
  return per_request_ * static_cast<int64_t>(waiting_) / static_cast<int64_t>(places_.size());
}

template <typename Wanted>
std::list<Request> RequestQueue::take_out(const Wanted& wanted) {
  std::list<Request> taken;
  for (auto& [shape, lane] : lanes_) {
    for (auto& level : lane.waiting) {
      for (auto next = level.begin(); next != level.end();) {
        const auto request = next++;
        if (!wanted(*request)) continue;
        took_out(lane, *request);
        taken.splice(taken.end(), level, request);
      }
    }
  }
  forget_empty_lanes();
  return taken;
}

std::optional<Request> RequestQueue::remove(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  auto taken = take_out([&](const Request& request) { return request.ticket == ticket; });
  if (taken.empty()) return std::nullopt;
  return std::move(taken.front());
}

std::list<Request> RequestQueue::expire(TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (with_deadline_ == 0) return {};
  return take_out([&](const Request& request) { return has_expired(request, now); });
}

std::optional<TimePoint> RequestQueue::next_deadline() const {
  const std::lock_guard lock(mutex_);
  std::optional<TimePoint> earliest;
  if (with_deadline_ == 0) return earliest;
  for (const auto& [shape, lane] : lanes_) {
    const auto deadline = lane.earliest_deadline();
    if (deadline && (!earliest || *deadline < *earliest)) earliest = deadline;
  }
  return earliest;
}

void RequestQueue::stop_joining() {
  {
    const std::lock_guard lock(mutex_);
    max_items_ = 1;
    for (auto& [shape, lane] : lanes_) lane.limit = 1;
  }
  changed_.notify_all();
}

void RequestQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

std::list<Request> RequestQueue::abandon() {
  close();
  const std::lock_guard lock(mutex_);
  return take_out([](const Request&) { return true; });
}

size_t RequestQueue::depth() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

}  // namespace trtserve
