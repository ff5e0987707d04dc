#pragma once

#include <functional>
#include <memory>
#include <string>

#include <NvInferRuntime.h>

#include "backends/tensorrt/library.h"

namespace trtserve::tensorrt {

/// The few functions of the CUDA runtime that graphs need, which torch's device-generic interface has not.
/// Looked up in the libraries that are loaded already. Immutable and thread safe.
class CudaGraphApi {
 public:
  explicit CudaGraphApi(const Library& library);

  /// Whether all of them were found.
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

/// What one piece of work enqueues on a stream, captured and ready to be launched again. Not thread safe.
class CudaGraph {
 public:
  /// Captures what `work` enqueues on `stream`; nothing of it runs. ExecutionFailed, with CUDA's reason, where it
  /// cannot be captured; `work`'s own exception goes on once the capture has been ended.
  CudaGraph(const CudaGraphApi& api, cudaStream_t stream, const std::function<void()>& work);

  /// ExecutionFailed.
  void launch(cudaStream_t stream) const;

 private:
  void check(cudaError_t status, const char* what) const;

  const CudaGraphApi& api_;
  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, decltype(&cudaGraphExecDestroy)> exec_;
};

}  // namespace trtserve::tensorrt
