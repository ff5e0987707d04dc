#pragma once

#include <ATen/core/Tensor.h>
#include <NvInferRuntime.h>
#include <c10/core/StreamGuard.h>

namespace trtserve::tensorrt {

/// The stream that one execution runs on, and the thread's current one for as long as this lives: the caller's
/// current stream, or, where that is the default stream, on which TensorRT would wait for the whole device,
/// the context's own, which is then put into the caller's order. Not thread safe.
class StreamScope {
 public:
  /// The inputs' memory is kept for the stream until its work on them is done.
  StreamScope(at::Device device, c10::Stream own, c10::ArrayRef<at::Tensor> inputs);
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

  c10::Stream stream() const { return stream_; }
  cudaStream_t handle() const { return static_cast<cudaStream_t>(stream_.native_handle()); }

  /// Gives the outputs to the caller's stream, in its order.
  void hand_over(c10::ArrayRef<at::Tensor> outputs) const;

 private:
  const c10::Stream caller_;
  const c10::Stream stream_;
  const c10::StreamGuard current_;
};

}  // namespace trtserve::tensorrt
