#include "core/instance.h"

#include <pthread.h>

#include <future>

namespace trtserve {

namespace {

void serve(at::Device device, RequestQueue& queue, BatchHandler& handler, std::promise<void> ready) {
  pthread_setname_np(pthread_self(), "trt-instance");
  // A batch thread does not interrupt who wakes it: where they share a core, the event loop first hands over all the
  // requests that have come, and they run as one batch. Its share of the core is the same, and so are its waits.
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
  while (auto batch = queue.pop()) handler.handle(std::move(*batch), *lane);
}

}  // namespace

Instance::Instance(at::Device device, RequestQueue& queue, BatchHandler& handler) {
  std::promise<void> ready;
  auto begun = ready.get_future();
  thread_ = std::thread(&serve, device, std::ref(queue), std::ref(handler), std::move(ready));
  try {
    begun.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

Instance::~Instance() { thread_.join(); }

}  // namespace trtserve
