#include "core/scheduler.h"

#include <mutex>

namespace trtserve {

Scheduler::Scheduler(CompletionQueue& completions, Clock& clock)
    : completions_(completions), clock_(clock), timer_(clock, [this](TimePoint now) { return expire(now); }) {}

void Scheduler::serve(std::shared_ptr<Engine> engine, Forward forward) {
  const EngineId id = engine->id();
  auto served = std::make_shared<ServedEngine>(std::move(engine), std::move(forward), completions_, clock_);
  std::unique_lock lock(mutex_);
  if (!served_.emplace(id, std::move(served)).second) fail(Kind::Conflict, "engine ", id, " is served already");
}

Ticket Scheduler::submit(EngineId id, const std::vector<HostTensor>& inputs, std::unique_ptr<InputOwner>& owner,
                         std::optional<Nanoseconds> timeout) {
  const auto served = find(id);
  Request request;
  try {
    request.inputs = bind_inputs(served->engine(), inputs);
  } catch (const Error& error) {
    served->count_refusal(error.kind());
    throw;
  }
  request.ticket = ++last_ticket_;
  request.arrival = clock_.now();
  if (timeout) request.deadline = request.arrival + *timeout;
  const Ticket ticket = request.ticket;
  const auto deadline = request.deadline;
  request.owner = std::move(owner);
  try {
    served->submit(std::move(request));
  } catch (...) {
    owner = std::move(request.owner);
    throw;
  }
  if (deadline) timer_.wake_by(*deadline);
  return ticket;
}

bool Scheduler::cancel(EngineId id, Ticket ticket) {
  std::shared_lock lock(mutex_);
  const auto found = served_.find(id);
  if (found == served_.end()) return false;
  const auto served = found->second;
  lock.unlock();
  return served->cancel(ticket);
}

void Scheduler::stop(EngineId id, Nanoseconds drain) {
  std::shared_ptr<ServedEngine> served;
  {
    std::unique_lock lock(mutex_);
    const auto found = served_.find(id);
    if (found == served_.end()) fail(Kind::NotFound, "engine ", id, " is not served");
    if (!stopping_.insert(id).second) fail(Kind::Conflict, "engine ", id, " is being unloaded already");
    served = found->second;
  }
  // Left in the map while it drains, so that a late request hears that the engine is being unloaded, and
  // that deadlines and cancellations still reach the waiting ones.
  served->stop(drain);
  std::unique_lock lock(mutex_);
  stopping_.erase(id);
  served_.erase(id);
}

std::vector<std::shared_ptr<ServedEngine>> Scheduler::served() const {
  std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<ServedEngine>> all;
  for (const auto& [id, served] : served_) all.push_back(served);
  return all;
}

std::shared_ptr<ServedEngine> Scheduler::find(EngineId id) const {
  std::shared_lock lock(mutex_);
  const auto found = served_.find(id);
  if (found == served_.end()) {
    fail(Kind::NotFound, "there is no engine ", id, ": it was never loaded here, or it was unloaded");
  }
  return found->second;
}

std::optional<TimePoint> Scheduler::expire(TimePoint now) {
  std::optional<TimePoint> earliest;
  for (const auto& served : served()) {
    const auto next = served->expire(now);
    if (next && (!earliest || *next < *earliest)) earliest = next;
  }
  return earliest;
}

}  // namespace trtserve
