#include "backends/tensorrt/stream_scope.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace trtserve::tensorrt {

namespace {

c10::impl::VirtualGuardImpl guard_of(at::Device device) { return c10::impl::VirtualGuardImpl(device.type()); }

/// Keeps the tensors' memory until the stream's work so far is done, even if the tensors are destroyed.
void record(c10::ArrayRef<at::Tensor> tensors, c10::Stream stream) {
  const auto guard = guard_of(stream.device());
  for (const auto& tensor : tensors) {
    if (tensor.device() == stream.device()) guard.recordDataPtrOnStream(tensor.storage().data_ptr(), stream);
  }
}

void order(c10::Stream first, c10::Stream then) {
  c10::Event done(first.device_type());
  done.record(first);
  done.block(then);
}

}  // namespace

StreamScope::StreamScope(at::Device device, c10::Stream own, c10::ArrayRef<at::Tensor> inputs)
    : caller_(guard_of(device).getStream(device)),
      stream_(caller_ == guard_of(device).getDefaultStream(device) ? own : caller_),
      current_(stream_) {
  if (stream_ != caller_) order(caller_, stream_);
  record(inputs, stream_);
}

void StreamScope::hand_over(c10::ArrayRef<at::Tensor> outputs) const {
  if (stream_ == caller_) return;
  order(stream_, caller_);
  record(outputs, caller_);
}

}  // namespace trtserve::tensorrt
