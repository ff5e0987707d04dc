#include "backends/tensorrt/cuda_graph.h"

#include <utility>

namespace trtserve::tensorrt {

namespace {

thread_local bool capturing = false;

using GraphOwner = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)>;

/// A capture on this thread, during its lifetime.
class Capture {
 public:
  Capture(const CudaApi& api, cudaStream_t stream) : api_(api), stream_(stream) {
    // Thread-local: a global capture would forbid other threads to allocate.
    api.check(api.begin_capture(stream, cudaStreamCaptureModeThreadLocal), "begin the capture");
    capturing = true;
  }
  ~Capture() {
    if (!capturing) return;
    const GraphOwner discarded(end().second, api_.destroy_graph);
    api_.get_last_error();  // clear the capture's error before the next work
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  GraphOwner finish() {
    const auto [status, graph] = end();
    GraphOwner owner(graph, api_.destroy_graph);
    api_.check(status, "capture the engine");
    return owner;
  }

 private:
  std::pair<cudaError_t, cudaGraph_t> end() {
    capturing = false;
    cudaGraph_t graph = nullptr;
    const cudaError_t status = api_.end_capture(stream_, &graph);
    return {status, graph};
  }

  const CudaApi& api_;
  const cudaStream_t stream_;
};

}  // namespace

CaptureStream::CaptureStream(const CudaApi& api) : api_(api), stream_(nullptr, api.destroy_stream) {
  cudaStream_t stream = nullptr;
  api.check(api.create_stream(&stream, cudaStreamNonBlocking), "create a stream");
  stream_.reset(stream);
}

void CaptureStream::synchronize() const {
  api_.check(api_.synchronize_stream(handle()), "finish the work of a capture's stream");
}

bool is_capturing() { return capturing; }

CudaGraph::CudaGraph(const CudaApi& api, const CaptureStream& stream, const std::function<void()>& work)
    : api_(api), exec_(nullptr, api.destroy_exec) {
  Capture capture(api, stream.handle());
  work();
  const GraphOwner graph = capture.finish();
  cudaGraphExec_t exec = nullptr;
  api.check(api.instantiate(&exec, graph.get(), 0), "instantiate the graph");
  exec_.reset(exec);
}

void CudaGraph::launch(cudaStream_t stream) const { api_.check(api_.launch(exec_.get(), stream), "launch the graph"); }

}  // namespace trtserve::tensorrt
