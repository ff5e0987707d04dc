#pragma once

#include <functional>
#include <memory>

#include "backends/tensorrt/cuda_api.h"

namespace trtserve::tensorrt {

/// A stream of the current device for captures, which lives as long as one and which torch never sees. Whatever another
/// thread enqueued on a stream in capture would become part of the graph instead of running, and memory that was used
/// on it would break torch's allocators. Not thread safe.
class CaptureStream {
 public:
  explicit CaptureStream(const CudaApi& api);

  cudaStream_t handle() const { return stream_.get(); }
  void synchronize() const;

 private:
  const CudaApi& api_;
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, decltype(&cudaStreamDestroy)> stream_;
};

/// True while this thread captures: memory that is allocated then must not be used.
bool is_capturing();

/// The work that a function enqueued on a stream, captured for repeated launches. Not thread safe.
class CudaGraph {
 public:
  /// Captures what `work` enqueues on `stream`, without running it. ExecutionFailed, with CUDA's reason, if that fails;
  /// `work`'s own exception is rethrown after the capture has ended.
  CudaGraph(const CudaApi& api, const CaptureStream& stream, const std::function<void()>& work);

  /// Throws ExecutionFailed if CUDA refuses the launch.
  void launch(cudaStream_t stream) const;

 private:
  const CudaApi& api_;
  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, decltype(&cudaGraphExecDestroy)> exec_;
};

}  // namespace trtserve::tensorrt
