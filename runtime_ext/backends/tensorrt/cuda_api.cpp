#include "backends/tensorrt/cuda_api.h"

#include <dlfcn.h>

#include <string>
#include <vector>

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

/// Opens a CUDA runtime: if possible the one that torch has loaded. Any will do, because their streams and events are
/// the driver's. Never closed. Null if there is none.
void* open_cuda_runtime() {
  std::vector<std::string> names;
  for (const int major : {CUDART_VERSION / 1000, 13, 12, 11}) names.push_back(c10::str("libcudart.so.", major));
  for (const int mode : {RTLD_NOLOAD, 0}) {
    for (const auto& name : names) {
      if (void* handle = dlopen(name.c_str(), RTLD_NOW | mode)) return handle;
    }
  }
  return nullptr;
}

template <typename Function>
void look_up(Function*& function, void* runtime, const Library& library, const char* symbol) {
  void* found = library.find(symbol);
  if (found == nullptr && runtime != nullptr) found = dlsym(runtime, symbol);
  if (found == nullptr) {
    fail(Kind::Unavailable, "TensorRT needs CUDA's runtime library, libcudart.so, and its function ", symbol,
         " was not found: install the CUDA runtime of your driver's version");
  }
  function = reinterpret_cast<Function*>(found);
}

}  // namespace

CudaApi::CudaApi(const Library& library) {
  void* runtime = open_cuda_runtime();
  look_up(create_stream, runtime, library, "cudaStreamCreateWithFlags");
  look_up(destroy_stream, runtime, library, "cudaStreamDestroy");
  look_up(synchronize_stream, runtime, library, "cudaStreamSynchronize");
  look_up(create_event, runtime, library, "cudaEventCreateWithFlags");
  look_up(destroy_event, runtime, library, "cudaEventDestroy");
  look_up(record_event, runtime, library, "cudaEventRecord");
  look_up(synchronize_event, runtime, library, "cudaEventSynchronize");
  look_up(query_event, runtime, library, "cudaEventQuery");
  look_up(begin_capture, runtime, library, "cudaStreamBeginCapture");
  look_up(end_capture, runtime, library, "cudaStreamEndCapture");
  look_up(instantiate, runtime, library, "cudaGraphInstantiateWithFlags");
  look_up(launch, runtime, library, "cudaGraphLaunch");
  look_up(destroy_exec, runtime, library, "cudaGraphExecDestroy");
  look_up(destroy_graph, runtime, library, "cudaGraphDestroy");
  look_up(get_last_error, runtime, library, "cudaGetLastError");
  look_up(error_string, runtime, library, "cudaGetErrorString");
}

void CudaApi::check(cudaError_t status, const char* what) const {
  if (status == cudaSuccess) return;
  get_last_error();  // clear it: the next call on this thread may be torch's
  fail(Kind::ExecutionFailed, "CUDA could not ", what, ": ", error_string(status));
}

}  // namespace trtserve::tensorrt
