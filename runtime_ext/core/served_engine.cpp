#include "core/served_engine.h"

#include "core/device_health.h"

namespace trtserve {

ServedEngine::ServedEngine(std::shared_ptr<Engine> engine, Forward forward, CompletionQueue& completions, Clock& clock)
    : engine_(std::move(engine)),
      forward_(std::move(forward)),
      completions_(completions),
      clock_(clock),
      instance_count_(engine_->contexts().size()),
      queue_(static_cast<size_t>(engine_->options().max_queue_size)) {
  RequestHandler& handler = *this;
  try {
    for (size_t i = 0; i < instance_count_; ++i)
      instances_.push_back(std::make_unique<Instance>(engine_->device(), queue_, handler));
  } catch (...) {
    queue_.close();  // the threads that did start must end before the members that they use
    instances_.clear();
    throw;
  }
}

ServedEngine::~ServedEngine() { stop(Nanoseconds(0)); }

void ServedEngine::submit(Request&& request) {
  {
    std::lock_guard lock(open_mutex_);
    ++open_;
  }
  try {
    queue_.push(std::move(request));
  } catch (const Error& error) {
    stats_.count(error.kind());
    close_one();
    throw;
  } catch (...) {
    close_one();
    throw;
  }
}

void ServedEngine::close_one() {
  const std::lock_guard lock(open_mutex_);
  if (--open_ == 0) drained_.notify_all();
}

bool ServedEngine::cancel(Ticket ticket) {
  auto request = queue_.remove(ticket);
  if (!request) return false;
  refuse(std::move(*request), Kind::Cancelled, "the request was cancelled while it waited");
  return true;
}

std::optional<TimePoint> ServedEngine::expire(TimePoint now) {
  for (auto& request : queue_.expire(now)) {
    refuse(std::move(request), Kind::DeadlineExceeded, "the request's time was over before its execution began");
  }
  return queue_.next_deadline();
}

void ServedEngine::handle(Request request, DeviceLane& lane) {
  const TimePoint start = clock_.now();
  if (request.deadline && *request.deadline <= start) {
    refuse(std::move(request), Kind::DeadlineExceeded, "the request's time was over before its execution began");
    return;
  }
  ++busy_;
  Completion completion;
  try {
    check_alive(engine_->device());
    completion.outputs = execute(request, lane);
  } catch (const Error& error) {
    completion.failure = Failure{error.kind(), error.what()};
  } catch (const std::exception& error) {
    completion.failure = failure(error);
  } catch (...) {
    completion.failure = Failure{Kind::ExecutionFailed, c10::str(engine_->label(), " failed and did not say why")};
  }
  completion.queue = start - request.arrival;
  completion.compute = clock_.now() - start;
  stats_.queue.observe(completion.queue);
  stats_.compute.observe(completion.compute);
  if (!completion.failure) stats_.total.observe(completion.queue + completion.compute);
  --busy_;
  complete(std::move(request), std::move(completion));
}

std::vector<NamedTensor> ServedEngine::execute(Request& request, DeviceLane& lane) {
  std::vector<at::Tensor> inputs;
  inputs.reserve(request.inputs.size());
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    inputs.push_back(engine_->inputs()[i].on_host ? request.inputs[i] : lane.to_device(request.inputs[i]));
  }
  const auto outputs = lane.to_host(forward_(inputs));
  const auto& specs = engine_->outputs();
  std::vector<NamedTensor> named;
  named.reserve(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) named.push_back({specs[i].name, outputs[i]});
  return named;
}

Failure ServedEngine::failure(const std::exception& error) const {
  const bool for_now = dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr;
  const bool alive = still_alive(engine_->device(), error.what());
  return {for_now || !alive ? Kind::Unavailable : Kind::ExecutionFailed,
          c10::str(engine_->label(), " failed: ", error.what())};
}

void ServedEngine::refuse(Request request, Kind kind, const std::string& message) {
  Completion completion;
  completion.failure = Failure{kind, message};
  completion.queue = clock_.now() - request.arrival;
  complete(std::move(request), std::move(completion));
}

void ServedEngine::complete(Request request, Completion completion) {
  completion.ticket = request.ticket;
  request.inputs.clear();  // the views end before their memory's owner moves on
  completion.owner = std::move(request.owner);
  stats_.count(completion.failure ? std::optional(completion.failure->kind) : std::nullopt);
  completions_.push(std::move(completion));
  close_one();
}

void ServedEngine::stop(Nanoseconds drain) {
  queue_.close();
  wait_until_idle(drain);
  for (auto& request : queue_.abandon()) {
    refuse(std::move(request), Kind::Unavailable, c10::str(engine_->label(), " was unloaded before the request ran"));
  }
  instances_.clear();
  // What cancel() or expire() took out of the queue before is completed on their threads.
  std::unique_lock lock(open_mutex_);
  drained_.wait(lock, [this] { return open_ == 0; });
}

void ServedEngine::wait_until_idle(Nanoseconds at_most) {
  const TimePoint deadline = clock_.now() + at_most;
  std::unique_lock lock(open_mutex_);
  while (open_ != 0 && clock_.now() < deadline) clock_.wait_until(lock, drained_, deadline);
}

}  // namespace trtserve
