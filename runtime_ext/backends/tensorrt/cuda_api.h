#pragma once

#include <NvInferRuntime.h>

#include "backends/tensorrt/library.h"

namespace trtserve::tensorrt {

/// The CUDA runtime functions for streams, events and graphs that torch's device-generic interface lacks. Looked up in
/// TensorRT's library and in the CUDA runtime, since the backend is not linked to either. Immutable and thread safe.
class CudaApi {
 public:
  /// Unavailable, naming the function, if one is missing.
  explicit CudaApi(const Library& library);

  /// Throws ExecutionFailed, "CUDA could not `what`" with CUDA's reason, unless the status is a success.
  void check(cudaError_t status, const char* what) const;

  decltype(&cudaStreamCreateWithFlags) create_stream = nullptr;
  decltype(&cudaStreamDestroy) destroy_stream = nullptr;
  decltype(&cudaStreamSynchronize) synchronize_stream = nullptr;
  decltype(&cudaEventCreateWithFlags) create_event = nullptr;
  decltype(&cudaEventDestroy) destroy_event = nullptr;
  decltype(&cudaEventRecord) record_event = nullptr;
  decltype(&cudaEventSynchronize) synchronize_event = nullptr;
  decltype(&cudaEventQuery) query_event = nullptr;
  decltype(&cudaStreamBeginCapture) begin_capture = nullptr;
  decltype(&cudaStreamEndCapture) end_capture = nullptr;
  decltype(&cudaGraphInstantiateWithFlags) instantiate = nullptr;
  decltype(&cudaGraphLaunch) launch = nullptr;
  decltype(&cudaGraphExecDestroy) destroy_exec = nullptr;
  decltype(&cudaGraphDestroy) destroy_graph = nullptr;
  decltype(&cudaGetLastError) get_last_error = nullptr;
  decltype(&cudaGetErrorString) error_string = nullptr;
};

}  // namespace trtserve::tensorrt
