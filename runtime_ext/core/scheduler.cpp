#include "core/scheduler.h"

#include <mutex>

namespace trtserve {

namespace {

constexpr size_t kIdleThreads = 32;  // kept for each device after a time when many were busy

}  // namespace

Scheduler::Scheduler(Surroundings surroundings)
    : surroundings_(std::move(surroundings)),
      timer_(*surroundings_.clock, [this](EngineId id, TimePoint now) { return on_time(id, now); }) {}

void Scheduler::close() {
  const std::lock_guard lock(devices_mutex_);
  for (const auto& [device, part] : devices_) part.workers->close();
}

void Scheduler::serve(EngineId place, std::shared_ptr<Engine> engine, Forward forward) {
  const EngineId id = engine->id();
  std::vector<DevicePart> parts;
  for (const auto& replica : engine->replicas()) parts.push_back(part_of(replica->device()));
  Counts counts;
  {
    const std::shared_lock lock(mutex_);
    const auto former = former_.find(id);
    if (former != former_.end()) counts = former->second.counts;
    const auto serving = served_.find(id);
    if (serving != served_.end()) counts.requests = serving->second->counts().requests;
  }
  const auto served = std::make_shared<ServedEngine>(
      std::move(engine), std::move(forward), surroundings_, parts,
      [this, id](TimePoint time) { timer_.wake_by(id, time); }, std::move(counts));
  {
    const std::unique_lock lock(mutex_);
    if (served_.emplace(place, served).second) {
      if (!is_beside(place)) former_.erase(id);
      served->count_calls();
      return;
    }
  }
  served->stop(Nanoseconds(0));
  fail(Kind::Conflict, "engine ", id, " is served already");
}

void Scheduler::exchange(EngineId id) {
  const std::unique_lock lock(mutex_);
  const auto found = served_.find(id);
  const auto other = served_.find(beside(id));
  if (found == served_.end() || other == served_.end()) {
    fail(Kind::NotFound, "engine ", id, " has none beside it that could serve");
  }
  if (stopping_.count(id) != 0 || stopping_.count(beside(id)) != 0) {
    fail(Kind::Conflict, "engine ", id, " is being unloaded");
  }
  other->second->follow(*found->second);
  std::swap(found->second, other->second);
}

DevicePart Scheduler::part_of(at::Device device) {
  const std::lock_guard lock(devices_mutex_);
  auto& part = devices_[device.str()];
  if (!part.share) {
    part.share = std::make_shared<DeviceShare>(surroundings_.clock);
    part.workers = std::make_shared<Workers>(surroundings_.clock, kIdleThreads);
    part.clock = surroundings_.clock;
  }
  return part;
}

std::shared_ptr<const Signature> Scheduler::sign(EngineId place, const std::vector<TensorShape>& tensors,
                                                 const std::string& called) const {
  return find(place)->sign(tensors, called);
}

Ticket Scheduler::submit(EngineId id, Request&& request, std::optional<Nanoseconds> timeout) {
  const auto served = find(id);
  const Ticket ticket = ++last_ticket_;
  request.ticket = ticket;
  request.arrival = surroundings_.clock->now();
  const auto deadline = timeout ? std::optional(request.arrival + *timeout) : std::nullopt;
  request.deadline = deadline;
  const auto time = request.signature->alone.last();
  if (served->submit(std::move(request), may_hold(request))) {
    const std::lock_guard lock(held_mutex_);
    held_.push_back(served);
    held_time_ += time;
  }
  if (deadline) timer_.wake_by(id, *deadline);
  return ticket;
}

bool Scheduler::may_hold(const Request& request) {
  if (!holds_.load(std::memory_order_relaxed) || !request.signature->alone.is_quick()) return false;
  const std::lock_guard lock(held_mutex_);
  return held_time_ + request.signature->alone.last() <= kHeldTime;
}

bool Scheduler::run_held() {
  std::vector<std::shared_ptr<ServedEngine>> held;
  {
    const std::lock_guard lock(held_mutex_);
    held.swap(held_);
    held_time_ = Nanoseconds(0);
  }
  for (const auto& served : held) served->run_held();
  return !held.empty();
}

bool Scheduler::cancel(EngineId id, Ticket ticket) {
  for (const EngineId place : {id, beside(id)}) {
    const auto served = find_if_served(place);
    if (served && served->cancel(ticket)) return true;
  }
  return false;
}

size_t Scheduler::stop(EngineId place, Nanoseconds drain, bool keep_counts) {
  std::shared_ptr<ServedEngine> served;
  {
    std::unique_lock lock(mutex_);
    const EngineId id = id_of_place(place);
    const auto found = served_.find(place);
    if (found == served_.end()) fail(Kind::NotFound, "engine ", id, " is not served");
    if (!stopping_.insert(place).second) fail(Kind::Conflict, "engine ", id, " is being unloaded already");
    served = found->second;
  }
  // The engine stays in the map while it drains, so that late requests are told that it is being unloaded, and
  // deadlines and cancellations still reach the waiting ones.
  const size_t left_behind = served->stop(drain);
  const std::unique_lock lock(mutex_);
  stopping_.erase(place);
  served_.erase(place);
  const EngineId id = id_of_place(place);
  const auto serving = served_.find(id);
  if (serving != served_.end()) {
    serving->second->former_ended(*served);
  } else if (keep_counts) {
    former_.insert_or_assign(id, Former{id, served->counts()});
  }
  return left_behind;
}

std::vector<Scheduler::Former> Scheduler::former() const {
  const std::shared_lock lock(mutex_);
  std::vector<Former> all;
  for (const auto& [id, former] : former_) all.push_back(former);
  return all;
}

void Scheduler::forget(EngineId id) {
  const std::unique_lock lock(mutex_);
  former_.erase(id);
}

std::vector<std::shared_ptr<ServedEngine>> Scheduler::served() const {
  std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<ServedEngine>> all;
  for (const auto& [place, served] : served_) {
    if (!is_beside(place)) all.push_back(served);
  }
  return all;
}

std::map<EngineId, std::shared_ptr<ServedEngine>> Scheduler::places() const {
  std::shared_lock lock(mutex_);
  return served_;
}

std::shared_ptr<ServedEngine> Scheduler::find(EngineId place) const {
  auto served = find_if_served(place);
  if (!served)
    fail(Kind::NotFound, "there is no engine ", id_of_place(place), ": it was never loaded here, or it was unloaded");
  return served;
}

std::shared_ptr<ServedEngine> Scheduler::find_if_served(EngineId place) const {
  std::shared_lock lock(mutex_);
  const auto found = served_.find(place);
  return found == served_.end() ? nullptr : found->second;
}

std::optional<TimePoint> Scheduler::on_time(EngineId id, TimePoint now) {
  std::optional<TimePoint> next;
  for (const EngineId place : {id, beside(id)}) {
    const auto served = find_if_served(place);
    const auto time = served ? served->on_time(now) : std::nullopt;
    if (time && (!next || *time < *next)) next = time;
  }
  return next;
}

}  // namespace trtserve
