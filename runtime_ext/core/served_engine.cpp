// Above 400 lines: everything that can happen to a request at its engine, from sign() to its end.

#include "core/served_engine.h"

#include "core/device_health.h"
#include "core/log.h"

namespace trtserve {

namespace {

/// After this many batches whose outputs cannot be divided, requests are no longer joined.
constexpr uint64_t kUndividedBatches = 3;

std::atomic<uint64_t> last_number{0};
std::atomic<uint64_t> last_execution{0};

OutputNames names_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const auto& spec : specs) names.push_back(spec.name);
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

std::vector<Completion> same_for_all(const Part& part, const Failure& failure) {
  std::vector<Completion> completions(part.requests.size());
  for (auto& completion : completions) completion.failure = failure;
  return completions;
}

/// A completion that only returns the owner of a request that ended before its execution did.
Completion release(Request& request) {
  Completion completion;
  completion.owner = std::move(request.owner);
  return completion;
}

}  // namespace

ServedEngine::ServedEngine(std::shared_ptr<Engine> engine, Forward forward, const Surroundings& surroundings,
                           const std::vector<DevicePart>& parts, Executions::WakeBy wake_by, Counts former)
    : number_(++last_number),
      engine_(std::move(engine)),
      forward_(std::move(forward)),
      completions_(surroundings.completions),
      clock_(surroundings.clock),
      rules_(batch_rules(*engine_)),
      output_names_(names_of(engine_->outputs())),
      replicas_(*engine_, parts),
      requests_(std::move(former.requests)),
      stats_(*requests_),
      former_(std::move(former.backend)),
      last_used_(clock_->glance()),
      failures_(engine_->label()),
      calls_(rules_, replicas_, stats_, *clock_,
             [this](const Failure& failure, TimePoint now) { failed(failure, now); }),
      queue_(rules_, static_cast<size_t>(engine_->options().max_queue_size), replicas_.places(), *clock_),
      executions_(std::make_shared<Executions>(*engine_, surroundings.left_behind, surroundings.stuck_after,
                                               std::move(wake_by))),
      joins_requests_(rules_.joins()),
      why_not_joined_(rules_.why_not) {
  stats_.own(engine_->name());
}

std::map<std::string, int64_t> ServedEngine::counters() const {
  auto counters = engine_->counters();
  const std::lock_guard lock(former_mutex_);
  for (const auto& [name, count] : former_) counters[name] += count;
  return counters;
}

Counts ServedEngine::counts() const {
  Counts counts{requests_, counters()};
  std::erase_if(counts.backend, [](const auto& number) { return is_gauge(number.first); });
  return counts;
}

void ServedEngine::follow(const ServedEngine& former) {
  auto counted = former.counts().backend;
  const std::lock_guard lock(former_mutex_);
  former_ = std::move(counted);
  follows_ = former.number_;
}

void ServedEngine::former_ended(const ServedEngine& former) {
  auto counted = former.counts().backend;
  const std::lock_guard lock(former_mutex_);
  if (follows_ != former.number_) return;
  former_ = std::move(counted);
  follows_ = 0;
}

std::shared_ptr<const Signature> ServedEngine::sign(const std::vector<TensorShape>& tensors,
                                                    const std::string& called) {
  const size_t number = stats_.number_of(called);
  try {
    auto signature = std::make_shared<Signature>(trtserve::sign(*engine_, rules_, tensors));
    signature->maker = number_;
    signature->called = called;
    signature->number = number;
    return signature;
  } catch (const Error& error) {
    stats_.refused(number, error.kind());
    throw;
  }
}

void ServedEngine::sign_anew(Request& request) {
  std::vector<TensorShape> tensors;
  for (const auto& input : request.signature->inputs) {
    tensors.push_back({input.name, datatype_name(input.dtype), input.shape});
  }
  auto signature = sign(tensors, request.signature->called);
  // The data is in the order of the former engine's inputs, which may differ from this one's.
  const auto data = request.data;
  for (size_t i = 0; i < data.size(); ++i) request.data[signature->positions[i]] = data[i];
  request.signature = std::move(signature);
}

bool ServedEngine::submit(Request&& request, bool may_hold) {
  if (request.signature->maker != number_) sign_anew(request);
  last_used_.store(request.arrival, std::memory_order_relaxed);
  executions_->accepted();
  const size_t name = request.signature->number;
  try {
    const bool on_this_thread =
        may_hold && replicas_.size() == 1 && replicas_[0].device().is_cpu() && engine_->first().is_steady();
    const auto pushed = queue_.push(std::move(request), on_this_thread);
    call(pushed.call);
    return pushed.held;
  } catch (const Error& error) {
    stats_.refused(name, error.kind());
    executions_->ended(1);
    throw;
  } catch (...) {
    executions_->ended(1);
    throw;
  }
}

/// Gives the instance a thread, if there is one to give.
void ServedEngine::call(std::optional<size_t> instance) {
  if (!instance) return;
  executions_->instance_began();
  replicas_[replicas_.number_of(*instance)].workers->start({shared_from_this(), executions_, *instance});
}

bool ServedEngine::cancel(Ticket ticket) {
  auto request = queue_.remove(ticket);
  if (!request) return false;
  refuse(std::move(*request), Kind::Cancelled, "the request was cancelled while it waited");
  return true;
}

std::optional<TimePoint> ServedEngine::on_time(TimePoint now) {
  for (auto& request : queue_.expire(now)) refuse_expired(std::move(request));
  end_early(executions_->expire(now), Kind::DeadlineExceeded,
            "the request's deadline passed before its execution ended");
  std::optional<TimePoint> next;
  if (const auto sentence = executions_->report(now, next)) log(Severity::Warning, "executions", *sentence);
  for (const auto& other : {failures_.report(now), queue_.next_deadline(), executions_->next_deadline()}) {
    if (other && (!next || *other < *next)) next = other;
  }
  return next;
}

void ServedEngine::serve(size_t instance) {
  const size_t number = replicas_.number_of(instance);
  const auto& own = replicas_[number];
  const size_t place = instance - own.first;
  DeviceLane lane(own.device(), own.streams[place].get(), &own.replica.staged(place));
  while (true) {
    if (replicas_.can_move_from(lane.device())) call(queue_.retire(number));
    completions_->wait_for_room(*clock_);
    auto batch = queue_.pop(instance);
    if (!batch) return;
    call(batch->call);
    handle(std::move(*batch), lane, /*held=*/false);
  }
}

void ServedEngine::run_held() {
  executions_->instance_began();
  auto held = queue_.take_held();
  call(held.call);
  if (held.batch) {
    DeviceLane lane(at::kCPU, nullptr);
    handle(std::move(*held.batch), lane, /*held=*/true);
  }
  executions_->instance_ended();
}

void ServedEngine::handle(Batch batch, DeviceLane& lane, bool held) {
  for (auto& request : batch.expired) refuse_expired(std::move(request));
  if (!batch.requests.empty()) run(std::move(batch), lane, held);
}

void ServedEngine::run(Batch batch, DeviceLane& lane, bool held) {
  Execution execution(std::move(batch));
  execution.held = held;
  const Part all{execution.batch.requests, execution.batch.items};
  ExecutionTimes times;
  times.start = clock_->now();
  if (!executions_->add(execution, times.start)) {
    for (auto& request : all.requests) refuse(std::move(request), Kind::Unavailable, unloaded_before("ran"));
    return;
  }
  size_t completed = 0;
  // One of the requests may be at fault, or their number, or the device has died. An execution's only effect is its
  // outputs, so run each request again alone.
  if (!run_part(execution, all, lane, times, completed, /*may_move=*/true)) {
    run_one_by_one(execution, lane, completed);
  }
  if (!executions_->remove(execution, completed)) {
    log(Severity::Info, "executions",
        c10::str("an execution of ", engine_->label(), " that was left behind has ended"));
  }
}

/// Runs the part, which has begun, and ends its open requests, adding their number to `completed`. Returns false if it
/// failed and its requests should run one by one; where they `may_move`, also if the device has died and they can run
/// on another.
bool ServedEngine::run_part(Execution& execution, const Part& part, DeviceLane& lane, ExecutionTimes times,
                            size_t& completed, bool may_move) {
  ++busy_;
  std::shared_ptr<const MadeCalls> calls;
  auto completions = completions_of(part, lane, times, calls);
  times.end = clock_->now();
  if (calls) {
    for (auto& completion : completions) completion.calls = calls;
  }
  --busy_;
  const auto& failure = completions.front().failure;
  const bool once_more = failure && (part.requests.size() > 1 || (may_move && replicas_.can_move_from(lane.device())));
  const bool waited_for = once_more ? executions_->pause(execution) : executions_->finish(execution);
  if (failure && waited_for) failed(*failure, times.end);
  if (once_more) return false;
  queue_.done(part.requests.size(), times.compute());
  if (part.requests.size() == 1) part.requests[0].signature->alone.took(times.compute());
  completed += end(part, std::move(completions), times, execution.held);
  return true;
}

void ServedEngine::run_one_by_one(Execution& execution, DeviceLane& lane, size_t& completed) {
  auto& requests = execution.batch.requests;
  std::optional<Refuge> refuge;
  bool has_moved = false;  // once at most: if the other device dies too, the requests fail
  for (size_t i = 0; i < requests.size();) {
    if (!has_moved && replicas_.can_move_from(lane.device())) {
      has_moved = true;
      try {
        refuge.emplace(*replicas_.live());
      } catch (const std::exception& error) {
        log(Severity::Warning, "executions",
            c10::str("requests for ", engine_->label(), " cannot move to another device: ", reason_of(error)));
      }
    }
    auto& chosen = refuge ? refuge->lane : lane;
    const Part single{std::span(requests).subspan(i, 1), requests[i].signature->items};
    auto turn = std::make_unique<DeviceShare::Turn>(replicas_.on(chosen.device()).member);
    ExecutionTimes times;
    times.start = clock_->now();
    if (!executions_->begin_next(execution, times.start, std::move(turn))) {
      queue_.done(1, Nanoseconds(0));
      end(single, std::vector<Completion>(1), times, execution.held);
      ++i;
    } else if (run_part(execution, single, chosen, times, completed, !has_moved)) {
      ++i;
    }
  }
}

/// Runs one execution and returns its completions: either all are results, and all of `times` but the first and the
/// last are set, or all are failures.
std::vector<Completion> ServedEngine::completions_of(const Part& part, DeviceLane& lane, ExecutionTimes& times,
                                                     std::shared_ptr<const MadeCalls>& calls) {
  try {
    check_alive(lane.device());
    auto outputs = execute(part, lane, times, calls);
    if (part.requests.size() > 1) {
      if (const auto why = why_undivided(part, outputs, rules_, *output_names_)) {
        batch_undivided();
        return same_for_all(part, {Kind::ExecutionFailed, *why});
      }
    }
    return divide(part, std::move(outputs), rules_, output_names_);
  } catch (...) {
    const Error error = explained(lane.device(), engine_->label(), std::current_exception());
    return same_for_all(part, {error.kind(), error.what()});
  }
}

std::vector<at::Tensor> ServedEngine::execute(const Part& part, DeviceLane& lane, ExecutionTimes& times,
                                              std::shared_ptr<const MadeCalls>& calls) {
  lane.enter();
  const auto& specs = engine_->inputs();
  std::vector<at::Tensor> inputs;
  inputs.reserve(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const size_t batch_dim = rules_.joins() ? static_cast<size_t>(rules_.input_batch_dim[i]) : 0;
    inputs.push_back(lane.gather(part, i, batch_dim, specs[i].on_host));
  }
  times.gathered = clock_->now();
  auto outputs = forward_(inputs, calls);
  times.inferred = clock_->now();
  return lane.to_host(outputs);
}

void ServedEngine::failed(const Failure& failure, TimePoint now) {
  // A fault of a request's own input is reported only to its sender.
  if (failure.kind == Kind::InvalidInput || failure.kind == Kind::Conflict) return;
  stats_.execution_failed();
  if (const auto next = failures_.failed(now, failure.message)) executions_->wake_by(*next);
}

std::string ServedEngine::why_not_joined() const {
  const std::lock_guard lock(why_mutex_);
  return why_not_joined_;
}

void ServedEngine::stop_joining(std::string why) {
  {
    const std::lock_guard lock(why_mutex_);
    why_not_joined_ = std::move(why);
  }
  joins_requests_ = false;
  queue_.stop_joining();
}

void ServedEngine::batch_undivided() {
  stats_.batch_undivided();
  if (++undivided_ != kUndividedBatches) return;
  stop_joining("the outputs of its batches did not have one item for each input item");
  log(Severity::Warning, "executions",
      c10::str("requests for ", engine_->label(), " run one by one from now on: the outputs of ", kUndividedBatches,
               " batches did not have one item per input item; load it with max_batch_size 1, or set batch_dims to the "
               "batch dimension"));
}

/// Ends the open requests and returns the owners of the others. Returns the number of open requests.
size_t ServedEngine::end(const Part& part, std::vector<Completion> completions, const ExecutionTimes& times,
                         bool held) {
  // Counted before the completions are pushed: a client that has its answer finds it in the statistics.
  if (completions.front().failure) {
    for (const auto& request : part.requests) {
      if (request.ended) continue;
      stats_.failed(request.signature->number, completions.front().failure->kind, times.end - request.arrival);
    }
  } else {
    stats_.succeeded(part.requests, part.items, times, clock_->wall_time());
  }
  const uint64_t execution = ++last_execution;
  size_t completed = 0;
  for (size_t i = 0; i < completions.size(); ++i) {
    auto& completion = completions[i];
    auto& request = part.requests[i];
    if (request.ended) {
      completion = release(request);
      continue;
    }
    ++completed;
    completion.ticket = request.ticket;
    completion.owner = std::move(request.owner);
    completion.queue = times.start - request.arrival;
    completion.compute = times.compute();
    completion.batch_requests = completions.size();
    completion.arrival = request.arrival;
    completion.times = times;
    completion.execution = execution;
  }
  completions_->push(std::move(completions), /*signal=*/!held);
  return completed;
}

void ServedEngine::refuse(Request request, Kind kind, const std::string& message) {
  std::vector<Completion> one(1);
  one[0].ticket = request.ticket;
  one[0].owner = std::move(request.owner);
  one[0].failure = Failure{kind, message};
  one[0].arrival = request.arrival;
  one[0].queue = clock_->now() - request.arrival;
  stats_.failed(request.signature->number, kind, one[0].queue);
  completions_->push(std::move(one));
  executions_->ended(1);
}

void ServedEngine::refuse_expired(Request request) {
  refuse(std::move(request), Kind::DeadlineExceeded, "the request's deadline passed before its execution began");
}

void ServedEngine::end_early(const std::vector<Executions::Early>& early, Kind kind, const std::string& message) {
  if (early.empty()) return;
  const TimePoint now = clock_->glance();
  std::vector<Completion> completions(early.size());
  for (size_t i = 0; i < early.size(); ++i) {
    completions[i].ticket = early[i].ticket;
    completions[i].failure = Failure{kind, message};
    completions[i].queue = early[i].began - early[i].arrival;
    completions[i].compute = now - early[i].began;
    completions[i].batch_requests = early[i].requests;
    completions[i].arrival = early[i].arrival;
    completions[i].times.start = early[i].began;
    stats_.failed(early[i].name, kind, now - early[i].arrival);
  }
  completions_->push(std::move(completions));
  executions_->ended(early.size());
}

std::string ServedEngine::unloaded_before(const char* what) const {
  return c10::str(engine_->label(), " was unloaded before the request ", what);
}

size_t ServedEngine::stop(Nanoseconds drain) {
  queue_.close();
  executions_->wait_until_idle(*clock_, drain);
  for (auto& request : queue_.abandon()) {
    refuse(std::move(request), Kind::Unavailable, unloaded_before("ran"));
  }
  end_early(executions_->leave_behind(), Kind::Unavailable, unloaded_before("was answered"));
  const size_t left_behind = executions_->wait_for_instances();
  replicas_.stop();
  // Requests that cancel() or on_time() removed from the queue are completed on those threads.
  executions_->wait_until_idle();
  if (left_behind > 0) {
    log(Severity::Warning, "executions",
        c10::str(engine_->label(), " was unloaded while ", left_behind,
                 " of its instances were executing: they were left behind, and keep their threads and memory until "
                 "they end"));
  }
  return left_behind;
}

}  // namespace trtserve
