#pragma once

#include <ATen/core/Tensor.h>
#include <NvInferRuntime.h>
#include <c10/core/StreamGuard.h>

namespace trtserve::tensorrt {

/// Sets the stream for one execution as the thread's current one during its lifetime. This is the caller's current
/// stream; if that is the default stream, on which TensorRT would wait for the whole device, it is the context's own,
/// ordered after the caller's. Not thread safe.
class StreamScope {
 public:
  /// Keeps the inputs' memory until the stream's work on them is done.
  StreamScope(at::Device device, c10::Stream own, c10::ArrayRef<at::Tensor> inputs);
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

  c10::Stream stream() const { return stream_; }
  cudaStream_t handle() const { return static_cast<cudaStream_t>(stream_.native_handle()); }

  /// Hands the outputs over to the caller's stream, in its order.
  void hand_over(c10::ArrayRef<at::Tensor> outputs) const;

 private:
  const c10::Stream caller_;
  const c10::Stream stream_;
  const c10::StreamGuard current_;
};

}  // namespace trtserve::tensorrt
