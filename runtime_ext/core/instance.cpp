#include "core/instance.h"

#include <pthread.h>

#include <future>

namespace trtserve {

namespace {

void serve(at::Device device, const std::shared_ptr<BatchHandler>& handler, std::promise<void> ready,
           const std::shared_ptr<std::atomic<bool>>& ended) {
  pthread_setname_np(pthread_self(), "trt-instance");
  // A SCHED_BATCH thread does not preempt the thread that wakes it: on a shared core, the event loop first hands over
  // all requests that have arrived, and they run as one batch. Its share of the core does not change.
  const sched_param no_priority{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &no_priority);
  std::optional<DeviceLane> lane;
  try {
    lane.emplace(device);
    ready.set_value();
  } catch (...) {
    ready.set_exception(std::current_exception());
    return;
  }
  while (handler->handle_next(*lane)) continue;
  ended->store(true);
  handler->instance_ended();
}

}  // namespace

Instance::Instance(at::Device device, std::shared_ptr<BatchHandler> handler) {
  std::promise<void> ready;
  auto begun = ready.get_future();
  thread_ = std::thread(&serve, device, std::move(handler), std::move(ready), ended_);
  try {
    begun.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

Instance::~Instance() {
  if (*ended_) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

}  // namespace trtserve
