#include "core/served_engine.h"

#include <ATen/Functions.h>

#include "core/device_health.h"

namespace trtserve {

namespace {

std::atomic<uint64_t> last_number{0};

std::shared_ptr<const std::vector<std::string>> names_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const auto& spec : specs) names.push_back(spec.name);
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

std::vector<Completion> same_for_all(const Batch& batch, const Failure& failure) {
  std::vector<Completion> completions(batch.requests.size());
  for (auto& completion : completions) completion.failure = failure;
  return completions;
}

OutputView view(const void* data, size_t bytes, const at::Tensor& of) {
  OutputView view{data, bytes, of.scalar_type(), {}};
  view.shape.assign(of.sizes().begin(), of.sizes().end());
  return view;
}

}  // namespace

ServedEngine::ServedEngine(std::shared_ptr<Engine> engine, Forward forward, CompletionQueue& completions,
                           DeviceShare& share, Clock& clock)
    : number_(++last_number),
      engine_(std::move(engine)),
      forward_(std::move(forward)),
      completions_(completions),
      clock_(clock),
      rules_(batch_rules(*engine_)),
      instance_count_(engine_->contexts().size()),
      output_names_(names_of(engine_->outputs())),
      share_(share, instance_count_),
      queue_(rules_, static_cast<size_t>(engine_->options().max_queue_size), instance_count_, share_, clock) {
  BatchHandler& handler = *this;
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

std::shared_ptr<const Signature> ServedEngine::sign(const std::vector<TensorShape>& tensors) {
  try {
    auto signature = std::make_shared<Signature>(trtserve::sign(*engine_, rules_, tensors));
    signature->maker = number_;
    return signature;
  } catch (const Error& error) {
    stats_.refused(error.kind());
    throw;
  }
}

void ServedEngine::sign_anew(Request& request) {
  std::vector<TensorShape> tensors;
  for (const auto& input : request.signature->inputs) {
    tensors.push_back({input.name, datatype_name(input.dtype), input.shape});
  }
  auto signature = sign(tensors);
  // The data is in the order of the former inputs, which need not be that of these.
  const auto data = request.data;
  for (size_t i = 0; i < data.size(); ++i) request.data[signature->positions[i]] = data[i];
  request.signature = std::move(signature);
}

void ServedEngine::submit(Request&& request) {
  if (request.signature->maker != number_) sign_anew(request);
  {
    const std::lock_guard lock(open_mutex_);
    ++open_;
  }
  try {
    queue_.push(std::move(request));
  } catch (const Error& error) {
    stats_.refused(error.kind());
    close_some(1);
    throw;
  } catch (...) {
    close_some(1);
    throw;
  }
}

void ServedEngine::close_some(size_t requests) {
  const std::lock_guard lock(open_mutex_);
  open_ -= requests;
  if (open_ == 0) drained_.notify_all();
}

bool ServedEngine::cancel(Ticket ticket) {
  auto request = queue_.remove(ticket);
  if (!request) return false;
  refuse(std::move(*request), Kind::Cancelled, "the request was cancelled while it waited");
  return true;
}

std::optional<TimePoint> ServedEngine::expire(TimePoint now) {
  for (auto& request : queue_.expire(now)) refuse_expired(std::move(request));
  return queue_.next_deadline();
}

void ServedEngine::handle(Batch batch, DeviceLane& lane) {
  for (auto& request : batch.expired) refuse_expired(std::move(request));
  if (!batch.requests.empty()) run(std::move(batch), lane);
}

void ServedEngine::run(Batch batch, DeviceLane& lane) {
  ++busy_;
  ExecutionTimes times;
  times.start = clock_.now();
  auto completions = answers(batch, lane, times);
  times.end = clock_.now();
  batch.turn.reset();
  --busy_;
  // One of the requests may be to blame, or their number, and an execution has no effect but its outputs: each again
  // by itself.
  if (completions.front().failure && completions.size() > 1) {
    run_one_by_one(std::move(batch), lane);
  } else {
    queue_.done(completions.size(), times.compute());
    end(std::move(batch), std::move(completions), times);
  }
}

void ServedEngine::run_one_by_one(Batch batch, DeviceLane& lane) {
  for (auto& request : batch.requests) {
    Batch single;
    single.items = request.signature->items;
    single.requests.push_back(std::move(request));
    single.turn = std::make_unique<DeviceShare::Turn>(share_);
    run(std::move(single), lane);
  }
}

/// One execution's ends of its requests: all are results, and all but the first and the last of `times` are known then,
/// or all are failures.
std::vector<Completion> ServedEngine::answers(const Batch& batch, DeviceLane& lane, ExecutionTimes& times) {
  try {
    check_alive(engine_->device());
    return scatter(batch, execute(batch, lane, times));
  } catch (...) {
    const Error error = explained(engine_->device(), engine_->label(), std::current_exception());
    return same_for_all(batch, {error.kind(), error.what()});
  }
}

std::vector<at::Tensor> ServedEngine::execute(const Batch& batch, DeviceLane& lane, ExecutionTimes& times) {
  const auto& specs = engine_->inputs();
  std::vector<at::Tensor> inputs;
  inputs.reserve(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const size_t batch_dim = rules_.joins() ? static_cast<size_t>(rules_.input_batch_dim[i]) : 0;
    inputs.push_back(lane.gather(batch, i, batch_dim, specs[i].on_host));
  }
  times.gathered = clock_.now();
  auto outputs = forward_(inputs);
  times.inferred = clock_.now();
  outputs = lane.to_host(outputs);
  if (batch.requests.size() > 1) check_outputs(batch, outputs);
  return outputs;
}

void ServedEngine::check_outputs(const Batch& batch, const std::vector<at::Tensor>& outputs) const {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int64_t dim = rules_.output_batch_dim[i];
    if (dim < outputs[i].dim() && outputs[i].size(dim) == batch.items) continue;
    fail(Kind::ExecutionFailed, engine_->label(), " gave output '", (*output_names_)[i], "' of shape ",
         format_shape(outputs[i].sizes()), " for a batch of ", batch.items,
         ": it has no item for each that went in, so load it with max_batch_size 1");
  }
}

std::vector<Completion> ServedEngine::scatter(const Batch& batch, std::vector<at::Tensor> outputs) const {
  const bool alone = batch.requests.size() == 1;
  std::vector<Completion> completions(batch.requests.size());
  std::vector<at::Tensor> memory;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto& output = outputs[i];
    const int64_t dim = alone ? 0 : rules_.output_batch_dim[i];
    const size_t item_bytes = alone || batch.items == 0 ? 0 : output.nbytes() / static_cast<size_t>(batch.items);
    const auto* data = static_cast<const std::byte*>(output.const_data_ptr());
    int64_t begin = 0;
    for (size_t r = 0; r < completions.size(); ++r) {
      const int64_t items = batch.requests[r].signature->items;
      auto& views = completions[r].outputs;
      if (alone) {
        views.push_back(view(data, output.nbytes(), output));
      } else if (dim == 0) {
        views.push_back(view(data, item_bytes * static_cast<size_t>(items), output));
        views.back().shape[0] = items;
        data += views.back().bytes;
      } else {
        memory.push_back(output.narrow(dim, begin, items).contiguous());
        views.push_back(view(memory.back().const_data_ptr(), memory.back().nbytes(), memory.back()));
      }
      begin += items;
    }
  }
  memory.insert(memory.end(), std::make_move_iterator(outputs.begin()), std::make_move_iterator(outputs.end()));
  const auto shared = std::make_shared<const std::vector<at::Tensor>>(std::move(memory));
  for (auto& completion : completions) {
    completion.memory = shared;
    completion.output_names = output_names_;
  }
  return completions;
}

void ServedEngine::end(Batch batch, std::vector<Completion> completions, const ExecutionTimes& times) {
  // Counted before it is told: who has an answer finds it in the statistics.
  if (completions.front().failure) {
    for (const auto& request : batch.requests) {
      stats_.failed(completions.front().failure->kind, times.end - request.arrival);
    }
  } else {
    stats_.succeeded(batch.requests, batch.items, times, clock_.wall_time());
  }
  for (size_t i = 0; i < completions.size(); ++i) {
    auto& completion = completions[i];
    completion.queue = times.start - batch.requests[i].arrival;
    completion.compute = times.compute();
    completion.batch_requests = completions.size();
    completion = complete(std::move(batch.requests[i]), std::move(completion));
  }
  const size_t ended = completions.size();
  completions_.push(std::move(completions));
  close_some(ended);
}

/// The request's end, ready to be pushed.
Completion ServedEngine::complete(Request request, Completion completion) {
  completion.ticket = request.ticket;
  completion.owner = std::move(request.owner);
  return completion;
}

void ServedEngine::refuse(Request request, Kind kind, const std::string& message) {
  Completion completion;
  completion.failure = Failure{kind, message};
  completion.queue = clock_.now() - request.arrival;
  stats_.failed(kind, completion.queue);
  std::vector<Completion> one;
  one.push_back(complete(std::move(request), std::move(completion)));
  completions_.push(std::move(one));
  close_some(1);
}

void ServedEngine::refuse_expired(Request request) {
  refuse(std::move(request), Kind::DeadlineExceeded, "the request's time was over before its execution began");
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
