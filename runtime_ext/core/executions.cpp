#include "core/executions.h"

#include <algorithm>

namespace trtserve {

namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

std::string describe_inputs(const Signature& signature) {
  std::string text;
  for (const auto& input : signature.inputs) {
    text += c10::str(text.empty() ? "" : ", ", "'", input.name, "' ", format_shape(input.shape));
  }
  return text.empty() ? "no inputs" : text;
}

bool have_ended(std::span<const Request> requests) {
  return std::all_of(requests.begin(), requests.end(), [](const Request& request) { return request.ended; });
}

}  // namespace

Executions::Executions(Engine& engine, std::shared_ptr<LeftBehind> left_behind, Nanoseconds stuck_after, WakeBy wake_by)
    : engine_(engine), left_behind_(std::move(left_behind)), stuck_after_(stuck_after), wake_by_(std::move(wake_by)) {}

void Executions::accepted() {
  const std::lock_guard lock(mutex_);
  ++open_;
}

void Executions::ended(size_t requests) {
  const std::lock_guard lock(mutex_);
  open_ -= requests;
  if (open_ == 0) changed_.notify_all();
}

size_t Executions::open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

void Executions::wait_until_idle(Clock& clock, Nanoseconds at_most) {
  const TimePoint deadline = clock.now() + at_most;
  std::unique_lock lock(mutex_);
  while (open_ != 0 && clock.now() < deadline) clock.wait_until(lock, changed_, deadline);
}

void Executions::wait_until_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return open_ == 0; });
}

bool Executions::add(Execution& execution, TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  running_.push_back(&execution);
  begin(execution, execution.batch.requests.size(), now);
  return true;
}

bool Executions::begin_next(Execution& execution, TimePoint now, std::unique_ptr<DeviceShare::Turn> turn) {
  const std::lock_guard lock(mutex_);
  if (execution.batch.requests[execution.begin].ended) {
    execution.end = ++execution.begin;
    return false;
  }
  execution.batch.turn = std::move(turn);
  begin(execution, execution.begin + 1, now);
  return true;
}

/// Call with mutex_ held.
void Executions::begin(Execution& execution, size_t end, TimePoint now) {
  execution.end = end;
  execution.began = now;
  execution.report_at = now + stuck_after_;
  if (watched_ || closed_) return;
  watched_ = true;
  wake_by_(execution.report_at);
}

bool Executions::finish(Execution& execution) {
  bool waited_for = false;
  {
    const std::lock_guard lock(mutex_);
    waited_for = !have_ended(executing(execution));
    execution.begin = execution.end;
  }
  execution.batch.turn->give_back();
  return waited_for;
}

bool Executions::pause(Execution& execution) {
  bool waited_for = false;
  {
    const std::lock_guard lock(mutex_);
    waited_for = !have_ended(executing(execution));
    execution.end = execution.begin;
  }
  execution.batch.turn->give_back();
  return waited_for;
}

bool Executions::remove(Execution& execution, size_t completed) {
  const std::lock_guard lock(mutex_);
  std::erase(running_, &execution);
  if (execution.left_behind) --left_behind_->running;
  open_ -= completed;
  if (open_ == 0) changed_.notify_all();
  return !execution.left_behind;
}

void Executions::instance_began() {
  const std::lock_guard lock(mutex_);
  ++instances_;
}

void Executions::instance_ended() {
  const std::lock_guard lock(mutex_);
  --instances_;
  changed_.notify_all();
}

/// Call with mutex_ held.
std::vector<Executions::Early> Executions::end_early(const std::function<bool(const Request&)>& wanted) {
  std::vector<Early> early;
  for (auto* execution : running_) {
    auto& requests = execution->batch.requests;
    const size_t before = early.size();
    for (size_t i = execution->begin; i < requests.size(); ++i) {
      auto& request = requests[i];
      if (request.ended || !wanted(request)) continue;
      request.ended = true;
      early.push_back({request.ticket, request.arrival, execution->began, execution->end - execution->begin,
                       request.signature->number});
    }
    if (early.size() > before) interrupt_if_unneeded(*execution);
  }
  return early;
}

std::span<const Request> Executions::executing(const Execution& execution) {
  return std::span(execution.batch.requests).subspan(execution.begin, execution.end - execution.begin);
}

/// Call with mutex_ held. Interrupts an execution whose requests have all ended, to make room for others.
void Executions::interrupt_if_unneeded(const Execution& execution) {
  const auto requests = executing(execution);
  if (!requests.empty() && have_ended(requests)) engine_.interrupt(execution.thread);
}

std::vector<Executions::Early> Executions::expire(TimePoint now) {
  const std::lock_guard lock(mutex_);
  return end_early([&](const Request& request) { return request.deadline && *request.deadline <= now; });
}

std::optional<TimePoint> Executions::next_deadline() const {
  const std::lock_guard lock(mutex_);
  std::optional<TimePoint> earliest;
  for (const auto* execution : running_) {
    for (size_t i = execution->begin; i < execution->batch.requests.size(); ++i) {
      const auto& request = execution->batch.requests[i];
      if (request.ended || !request.deadline) continue;
      if (!earliest || *request.deadline < *earliest) earliest = request.deadline;
    }
  }
  return earliest;
}

std::vector<Executions::Early> Executions::leave_behind() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  auto early = end_early([](const Request&) { return true; });
  for (auto* execution : running_) {
    execution->left_behind = true;
    ++left_behind_->ever;
    ++left_behind_->running;
    execution->batch.turn->give_back();
  }
  changed_.notify_all();
  return early;
}

size_t Executions::wait_for_instances() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return instances_ == left_behind(); });
  return left_behind();
}

/// Call with mutex_ held.
size_t Executions::left_behind() const {
  return static_cast<size_t>(std::count_if(running_.begin(), running_.end(),
                                           [](const Execution* execution) { return execution->left_behind; }));
}

Stuck Executions::stuck(TimePoint now) const {
  const std::lock_guard lock(mutex_);
  Stuck stuck;
  for (const auto* execution : running_) {
    if (!execution->executing() || now - execution->began < stuck_after_) continue;
    ++stuck.executions;
    stuck.longest = std::max(stuck.longest, now - execution->began);
  }
  return stuck;
}

std::optional<std::string> Executions::report(TimePoint now, std::optional<TimePoint>& next) {
  const std::lock_guard lock(mutex_);
  const Execution* longest = nullptr;
  size_t stuck = 0;
  bool due = false;
  watched_ = false;
  for (auto* execution : running_) {
    if (!execution->executing()) continue;
    watched_ = true;
    if (execution->report_at <= now) {
      due = true;
      execution->report_at = now + (now - execution->began);  // report again at twice the time
      interrupt_if_unneeded(*execution);  // again: the first may have come before the execution leased its context
    }
    next = next ? std::min(*next, execution->report_at) : execution->report_at;
    if (now - execution->began < stuck_after_) continue;
    ++stuck;
    if (longest == nullptr || execution->began < longest->began) longest = execution;
  }
  if (!due || longest == nullptr) return std::nullopt;
  const auto& request = longest->batch.requests[longest->begin];
  return c10::str(engine_.label(), ": ", stuck, " of ", engine_.instances(),
                  " instances are stuck in an execution; the longest has taken ",
                  duration_cast<seconds>(now - longest->began).count(), " s so far, with ",
                  longest->end - longest->begin, " requests, the first of them with ",
                  describe_inputs(*request.signature));
}

void Executions::wake_by(TimePoint time) {
  const std::lock_guard lock(mutex_);
  if (!closed_) wake_by_(time);
}

}  // namespace trtserve
