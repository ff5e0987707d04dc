// Memory, streams, copies and events of CUDA's runtime on the fake device, for programs without torch. All functions
// are thread safe and return 0, or 1 for a failure. A wait fails once a contract of the fakes has been breached, and
// prints the breach: a program on the fakes cannot ask for breaches as the tests do.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "control.h"
#include "stream.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr size_t kAlignment = 256;  // what cudaMalloc guarantees

/// A handle is the address of one of these.
struct TimedEvent {
  c10::Event event{kType, c10::EventFlag::BACKEND_DEFAULT};
};

c10::impl::VirtualGuardImpl guard() { return c10::impl::VirtualGuardImpl(kType); }

c10::Stream torch_stream(void* handle) { return trtserve::fake::stream_of(handle)->as_torch(); }

int allocate(void** memory, size_t bytes) {
  *memory = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  return *memory == nullptr ? 1 : 0;
}

int no_breach() {
  const char* breaches = fake_breaches();
  if (*breaches == '\0') return 0;
  std::fprintf(stderr, "breaches of contract:\n%s\n", breaches);
  return 1;
}

}  // namespace

EXPORTED int cudaSetDevice(int device) {
  guard().setDevice({kType, static_cast<c10::DeviceIndex>(device)});
  return 0;
}

EXPORTED int cudaMalloc(void** memory, size_t bytes) { return allocate(memory, bytes); }
EXPORTED int cudaMallocHost(void** memory, size_t bytes) { return allocate(memory, bytes); }

EXPORTED int cudaStreamCreateWithFlags(void** stream, unsigned /*flags*/) {
  const auto made = guard().getNewStream({kType, 0}, 0);
  *stream = guard().getStreamNativeHandle(made);
  return 0;
}

EXPORTED int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int /*kind*/, void* stream) {
  trtserve::fake::stream_of(stream)->enqueue([=] { std::memcpy(to, from, bytes); });
  return 0;
}

EXPORTED int cudaStreamSynchronize(void* stream) {
  trtserve::fake::stream_of(stream)->synchronize();
  return no_breach();
}

EXPORTED int cudaStreamWaitEvent(void* stream, void* event, unsigned /*flags*/) {
  static_cast<TimedEvent*>(event)->event.block(torch_stream(stream));
  return 0;
}

EXPORTED int cudaEventCreateWithFlags(void** event, unsigned /*flags*/) {
  *event = std::make_unique<TimedEvent>().release();
  return 0;
}

EXPORTED int cudaEventRecord(void* event, void* stream) {
  static_cast<TimedEvent*>(event)->event.record(torch_stream(stream));
  return 0;
}

EXPORTED int cudaEventElapsedTime(float* milliseconds, void* first, void* last) {
  const auto elapsed = static_cast<TimedEvent*>(first)->event.elapsedTime(static_cast<TimedEvent*>(last)->event);
  *milliseconds = static_cast<float>(elapsed);
  return 0;
}
