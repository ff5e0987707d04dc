#pragma once

#include <dlfcn.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <NvInferRuntime.h>

// CUDA's runtime for a program that links to nothing: the functions are looked up in libraries that are opened by name.

namespace bench {

constexpr unsigned kNonBlocking = 1;  // cudaStreamNonBlocking
constexpr unsigned kUntimed = 2;      // cudaEventDisableTiming
constexpr int kToDevice = 1;          // cudaMemcpyHostToDevice
constexpr int kToHost = 2;            // cudaMemcpyDeviceToHost
constexpr int kThreadLocal = 1;       // cudaStreamCaptureModeThreadLocal

inline void check(int status, const char* what) {
  if (status != 0) throw std::runtime_error(std::string(what) + " failed with CUDA error " + std::to_string(status));
}

inline void* opened(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  return library;
}

/// The functions that the benchmark calls, with the C signatures of cuda_runtime_api.h; enumerations are ints there.
struct Cuda {
  int (*set_device)(int) = nullptr;
  int (*malloc)(void**, std::size_t) = nullptr;
  int (*malloc_host)(void**, std::size_t) = nullptr;
  int (*memcpy_async)(void*, const void*, std::size_t, int, cudaStream_t) = nullptr;
  int (*stream_create)(cudaStream_t*, unsigned) = nullptr;
  int (*stream_synchronize)(cudaStream_t) = nullptr;
  int (*stream_wait_event)(cudaStream_t, cudaEvent_t, unsigned) = nullptr;
  int (*event_create)(cudaEvent_t*, unsigned) = nullptr;
  int (*event_record)(cudaEvent_t, cudaStream_t) = nullptr;
  int (*event_elapsed)(float*, cudaEvent_t, cudaEvent_t) = nullptr;
  int (*begin_capture)(cudaStream_t, int) = nullptr;
  int (*end_capture)(cudaStream_t, cudaGraph_t*) = nullptr;
  int (*instantiate)(cudaGraphExec_t*, cudaGraph_t, unsigned long long) = nullptr;
  int (*launch)(cudaGraphExec_t, cudaStream_t) = nullptr;
  int (*destroy_graph)(cudaGraph_t) = nullptr;
  int (*destroy_exec)(cudaGraphExec_t) = nullptr;

  /// Looks each function up in CUDA's runtime and then in TensorRT's library.
  Cuda(void* runtime, void* tensorrt) {
    const auto find = [&](auto& function, const char* symbol) {
      void* found = dlsym(runtime, symbol);
      if (found == nullptr) found = dlsym(tensorrt, symbol);
      if (found == nullptr) throw std::runtime_error(std::string("no library has ") + symbol);
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
    };
    find(set_device, "cudaSetDevice");
    find(malloc, "cudaMalloc");
    find(malloc_host, "cudaMallocHost");
    find(memcpy_async, "cudaMemcpyAsync");
    find(stream_create, "cudaStreamCreateWithFlags");
    find(stream_synchronize, "cudaStreamSynchronize");
    find(stream_wait_event, "cudaStreamWaitEvent");
    find(event_create, "cudaEventCreateWithFlags");
    find(event_record, "cudaEventRecord");
    find(event_elapsed, "cudaEventElapsedTime");
    find(begin_capture, "cudaStreamBeginCapture");
    find(end_capture, "cudaStreamEndCapture");
    find(instantiate, "cudaGraphInstantiateWithFlags");
    find(launch, "cudaGraphLaunch");
    find(destroy_graph, "cudaGraphDestroy");
    find(destroy_exec, "cudaGraphExecDestroy");
  }

  void* device_memory(std::size_t bytes) const {
    void* memory = nullptr;
    check(malloc(&memory, bytes), "cudaMalloc");
    return memory;
  }

  void* pinned_memory(std::size_t bytes) const {
    void* memory = nullptr;
    check(malloc_host(&memory, bytes), "cudaMallocHost");
    return memory;
  }

  cudaStream_t stream() const {
    cudaStream_t made = nullptr;
    check(stream_create(&made, kNonBlocking), "cudaStreamCreateWithFlags");
    return made;
  }

  cudaEvent_t event(unsigned flags = 0) const {
    cudaEvent_t made = nullptr;
    check(event_create(&made, flags), "cudaEventCreateWithFlags");
    return made;
  }

  void copy(void* to, const void* from, std::size_t bytes, int kind, cudaStream_t stream) const {
    check(memcpy_async(to, from, bytes, kind, stream), "cudaMemcpyAsync");
  }
  void record(cudaEvent_t event, cudaStream_t stream) const { check(event_record(event, stream), "cudaEventRecord"); }
  void wait(cudaStream_t stream, cudaEvent_t event) const {
    check(stream_wait_event(stream, event, 0), "cudaStreamWaitEvent");
  }
  void synchronize(cudaStream_t stream) const { check(stream_synchronize(stream), "cudaStreamSynchronize"); }
};

using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, int (*)(cudaGraphExec_t)>;

/// Captures what `work` enqueues on the stream.
template <class Work>
Graph capture(const Cuda& cuda, cudaStream_t stream, const Work& work) {
  check(cuda.begin_capture(stream, kThreadLocal), "cudaStreamBeginCapture");
  work();
  cudaGraph_t graph = nullptr;
  check(cuda.end_capture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t made = nullptr;
  const int status = cuda.instantiate(&made, graph, 0);
  cuda.destroy_graph(graph);
  check(status, "cudaGraphInstantiateWithFlags");
  return {made, cuda.destroy_exec};
}

}  // namespace bench
