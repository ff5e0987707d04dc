#pragma once

#include <functional>
#include <memory>
#include <string>

#include <NvInferRuntime.h>

#include "backends/tensorrt/library.h"

namespace trtserve::tensorrt {

/// The few CUDA runtime functions that graphs need and that torch's device-generic interface lacks. Looked up in the
/// libraries that are already loaded. Immutable and thread safe.
class CudaGraphApi {
 public:
  explicit CudaGraphApi(const Library& library);

  /// True if all functions were found.
  bool available() const { return available_; }

  decltype(&cudaStreamBeginCapture) begin_capture = nullptr;
  decltype(&cudaStreamEndCapture) end_capture = nullptr;
  decltype(&cudaGraphInstantiateWithFlags) instantiate = nullptr;
  decltype(&cudaGraphLaunch) launch = nullptr;
  decltype(&cudaGraphExecDestroy) destroy_exec = nullptr;
  decltype(&cudaGraphDestroy) destroy_graph = nullptr;
  decltype(&cudaGetLastError) get_last_error = nullptr;
  decltype(&cudaGetErrorString) error_string = nullptr;

 private:
  bool available_ = false;
};

/// The work that a function enqueued on a stream, captured for repeated launches. Not thread safe.
class CudaGraph {
 public:
  /// Captures what `work` enqueues on `stream`, without running it. ExecutionFailed, with CUDA's reason, if that fails;
  /// `work`'s own exception is rethrown after the capture has ended.
  CudaGraph(const CudaGraphApi& api, cudaStream_t stream, const std::function<void()>& work);

  /// Throws ExecutionFailed if CUDA refuses the launch.
  void launch(cudaStream_t stream) const;

 private:
  void check(cudaError_t status, const char* what) const;

  const CudaGraphApi& api_;
  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, decltype(&cudaGraphExecDestroy)> exec_;
};

}  // namespace trtserve::tensorrt
