#include "core/instance.h"

#include <dlfcn.h>
#include <pthread.h>

#include <future>

#include <ATen/Parallel.h>

namespace trtserve {

namespace {

/// Makes torch's CPU operations on this thread run on it alone: otherwise each instance would get an OpenMP team of as
/// many threads as there are cores. at::set_num_threads() would limit the whole process.
void use_one_thread() {
  at::get_num_threads();  // torch sets the number when it is first asked for it, and would undo the next line
  // torch loads its own copy of the OpenMP library, under a name that no linker knows.
  using SetThreads = void (*)(int);
  if (const auto set_threads = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"))) set_threads(1);
}

void serve(at::Device device, std::unique_ptr<DeviceStream> stream, const std::shared_ptr<BatchHandler>& handler,
           std::promise<void> ready, const std::shared_ptr<std::atomic<bool>>& ended) {
  pthread_setname_np(pthread_self(), "trt-instance");
  // A SCHED_BATCH thread does not preempt the thread that wakes it: on a shared core, the event loop first hands over
  // all requests that have arrived, and they run as one batch. Its share of the core does not change.
  const sched_param no_priority{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &no_priority);
  use_one_thread();
  std::optional<DeviceLane> lane;
  try {
    lane.emplace(device, std::move(stream));
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

Instance::Instance(at::Device device, std::unique_ptr<DeviceStream> stream, std::shared_ptr<BatchHandler> handler) {
  std::promise<void> ready;
  auto begun = ready.get_future();
  thread_ = std::thread(&serve, device, std::move(stream), std::move(handler), std::move(ready), ended_);
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
