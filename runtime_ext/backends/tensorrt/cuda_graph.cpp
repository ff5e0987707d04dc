#include "backends/tensorrt/cuda_graph.h"

#include <dlfcn.h>

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

/// Returns the CUDA runtime that torch has loaded, which owns these streams; null if there is none.
void* loaded_cuda_runtime() {
  for (const auto& name : {c10::str("libcudart.so.", CUDART_VERSION / 1000), std::string("libcudart.so.13"),
                           std::string("libcudart.so.12")}) {
    if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD)) return handle;
  }
  return nullptr;
}

template <typename Function>
bool look_up(Function*& function, void* runtime, const Library& library, const char* symbol) {
  // Look first in the library and its dependencies: it runs on that runtime's streams.
  void* found = library.find(symbol);
  if (found == nullptr && runtime != nullptr) found = dlsym(runtime, symbol);
  function = reinterpret_cast<Function*>(found);
  return found != nullptr;
}

using GraphOwner = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)>;

}  // namespace

CudaGraphApi::CudaGraphApi(const Library& library) {
  void* runtime = loaded_cuda_runtime();
  available_ = look_up(begin_capture, runtime, library, "cudaStreamBeginCapture") &&
               look_up(end_capture, runtime, library, "cudaStreamEndCapture") &&
               look_up(instantiate, runtime, library, "cudaGraphInstantiateWithFlags") &&
               look_up(launch, runtime, library, "cudaGraphLaunch") &&
               look_up(destroy_exec, runtime, library, "cudaGraphExecDestroy") &&
               look_up(destroy_graph, runtime, library, "cudaGraphDestroy") &&
               look_up(get_last_error, runtime, library, "cudaGetLastError") &&
               look_up(error_string, runtime, library, "cudaGetErrorString");
}

CudaGraph::CudaGraph(const CudaGraphApi& api, cudaStream_t stream, const std::function<void()>& work)
    : api_(api), exec_(nullptr, api.destroy_exec) {
  // Thread-local: a global capture would forbid other threads to allocate.
  check(api.begin_capture(stream, cudaStreamCaptureModeThreadLocal), "begin the capture");
  GraphOwner graph(nullptr, api.destroy_graph);
  const auto end = [&] {
    cudaGraph_t captured = nullptr;
    const cudaError_t status = api.end_capture(stream, &captured);
    graph.reset(captured);
    return status;
  };
  try {
    work();
  } catch (...) {
    end();
    api.get_last_error();  // clear the capture's error before the next work
    throw;
  }
  check(end(), "capture the engine");
  cudaGraphExec_t exec = nullptr;
  check(api.instantiate(&exec, graph.get(), 0), "instantiate the graph");
  exec_.reset(exec);
}

void CudaGraph::launch(cudaStream_t stream) const { check(api_.launch(exec_.get(), stream), "launch the graph"); }

void CudaGraph::check(cudaError_t status, const char* what) const {
  if (status == cudaSuccess) return;
  api_.get_last_error();
  fail(Kind::ExecutionFailed, "CUDA could not ", what, ": ", api_.error_string(status));
}

}  // namespace trtserve::tensorrt
