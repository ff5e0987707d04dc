#include <map>
#include <memory>
#include <mutex>

#include "contract.h"
#include "cuda_status.h"
#include "current.h"
#include "event.h"
#include "stream_table.h"

// The part of the CUDA runtime that makes streams and events, on the fake device.

struct CUevent_st {
  trtserve::fake::Event event;
  trtserve::fake::trt::Live live{"event"};
};

namespace trtserve::fake::trt {

namespace {

struct Events {
  std::mutex mutex;
  std::map<cudaEvent_t, std::shared_ptr<CUevent_st>> events;  // guarded by mutex
};

/// Never destroyed: owners of events may release them at any time until the process ends.
Events& events() {
  static auto* const the_one = new Events;  // NOLINT(cppcoreguidelines-owning-memory)
  return *the_one;
}

/// The event of a handle; records a breach and returns nullptr for one that does not exist.
std::shared_ptr<CUevent_st> find(const char* function, cudaEvent_t handle) {
  count_call(function);
  const std::lock_guard lock(events().mutex);
  const auto found = events().events.find(handle);
  if (found != events().events.end()) return found->second;
  breached(function, ": called on an event that does not exist");
  return nullptr;
}

/// Runs a call of the fake device, which throws where CUDA's runtime returns an error.
template <class Call>
cudaError_t guarded(const Call& call) {
  try {
    return call();
  } catch (const c10::AcceleratorError& error) {
    return static_cast<cudaError_t>(error.get_error_code());
  } catch (const std::exception& error) {
    return broken(error.what());
  }
}

cudaError_t create_stream(cudaStream_t* result) {
  count_call("cudaStreamCreateWithFlags");
  if (result == nullptr) return cudaErrorInvalidValue;
  check_usable(current_device());
  *result = static_cast<cudaStream_t>(stream_table().make(current_device()).native_handle());
  return cudaSuccess;
}

cudaError_t destroy_stream(cudaStream_t handle) {
  count_call("cudaStreamDestroy");
  auto* const stream = stream_of(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capturing()) breached("cudaStreamDestroy: the stream is capturing");
  stream_table().end(*stream);
  return cudaSuccess;
}

cudaError_t synchronize_stream(cudaStream_t handle) {
  count_call("cudaStreamSynchronize");
  auto* const stream = stream_of(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  stream->synchronize();
  return cudaSuccess;
}

cudaError_t create_event(cudaEvent_t* result, unsigned int flags) {
  count_call((flags & cudaEventBlockingSync) != 0 ? "an event to sleep for" : "an event to spin for");
  if (result == nullptr) return cudaErrorInvalidValue;
  check_usable(current_device());
  auto event = std::make_shared<CUevent_st>();
  *result = event.get();
  const std::lock_guard lock(events().mutex);
  events().events.emplace(*result, std::move(event));
  return cudaSuccess;
}

cudaError_t destroy_event(cudaEvent_t handle) {
  const auto found = find("cudaEventDestroy", handle);
  const std::lock_guard lock(events().mutex);
  events().events.erase(handle);
  return found == nullptr ? cudaErrorInvalidResourceHandle : cudaSuccess;
}

cudaError_t record_event(cudaEvent_t handle, cudaStream_t on) {
  const auto found = find("cudaEventRecord", handle);
  auto* const stream = stream_of(on);
  if (found == nullptr || stream == nullptr) return cudaErrorInvalidResourceHandle;
  check_usable(stream->device());
  found->event.record(*stream);
  return cudaSuccess;
}

cudaError_t synchronize_event(cudaEvent_t handle) {
  const auto found = find("cudaEventSynchronize", handle);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  found->event.synchronize();
  return cudaSuccess;
}

cudaError_t query_event(cudaEvent_t handle) {
  const auto found = find("cudaEventQuery", handle);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  return found->event.query() ? cudaSuccess : cudaErrorNotReady;
}

}  // namespace

}  // namespace trtserve::fake::trt

namespace trt = trtserve::fake::trt;

EXPORTED cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int /*flags*/) {
  return trt::answer(trt::guarded([&] { return trt::create_stream(stream); }));
}

EXPORTED cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return trt::answer(trt::guarded([&] { return trt::destroy_stream(stream); }));
}

EXPORTED cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return trt::answer(trt::guarded([&] { return trt::synchronize_stream(stream); }));
}

EXPORTED cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  return trt::answer(trt::guarded([&] { return trt::create_event(event, flags); }));
}

EXPORTED cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return trt::answer(trt::guarded([&] { return trt::destroy_event(event); }));
}

EXPORTED cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return trt::answer(trt::guarded([&] { return trt::record_event(event, stream); }));
}

EXPORTED cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return trt::answer(trt::guarded([&] { return trt::synchronize_event(event); }));
}

EXPORTED cudaError_t cudaEventQuery(cudaEvent_t event) {
  return trt::answer(trt::guarded([&] { return trt::query_event(event); }));
}
