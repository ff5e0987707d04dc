#include "graph.h"

#include <map>
#include <mutex>

#include <cuda_runtime_api.h>

#include "contract.h"
#include "cuda_status.h"

// The part of the CUDA runtime that captures and launches graphs, on the fake device's streams.

namespace trtserve::fake::trt {

namespace {

/// The work that a stream captured.
struct Graph {
  std::vector<Work> works;
  std::vector<std::shared_ptr<Execution>> executions;  // the executions among the works
};

struct Capture {
  std::vector<std::shared_ptr<Execution>> executions;
  bool valid = true;
};

}  // namespace

}  // namespace trtserve::fake::trt

struct CUgraph_st {
  trtserve::fake::trt::Graph graph;
  trtserve::fake::trt::Live live{"graph"};
};

struct CUgraphExec_st {
  trtserve::fake::trt::Graph graph;
  trtserve::fake::trt::Live live{"graph_exec"};
};

namespace trtserve::fake::trt {

namespace {

struct Graphs {
  std::mutex mutex;
  std::map<const Stream*, Capture> captures;                               // guarded by mutex
  std::map<cudaGraph_t, std::unique_ptr<CUgraph_st>> graphs;               // guarded by mutex
  std::map<cudaGraphExec_t, std::unique_ptr<CUgraphExec_st>> executables;  // guarded by mutex
};

/// Never destroyed: owners of graphs may release them at any time until the process ends.
Graphs& graphs() {
  static auto* const the_one = new Graphs;  // NOLINT(cppcoreguidelines-owning-memory)
  return *the_one;
}

/// The stream of a handle; records a breach and returns nullptr for the default stream, which cannot capture.
Stream* captured_stream(const char* function, cudaStream_t handle) {
  count_call(function);
  if (handle != nullptr) return stream_of(handle);
  breached(function, ": called for the default stream");
  return nullptr;
}

}  // namespace

void add_to_capture(const Stream& stream, std::shared_ptr<Execution> execution) {
  const std::lock_guard lock(graphs().mutex);
  graphs().captures[&stream].executions.push_back(std::move(execution));
}

void invalidate_capture(const Stream& stream) {
  const std::lock_guard lock(graphs().mutex);
  graphs().captures[&stream].valid = false;
}

namespace {

cudaError_t begin_capture(cudaStream_t handle) {
  auto* const stream = captured_stream("cudaStreamBeginCapture", handle);
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  if (stream->capturing()) return cudaErrorIllegalState;
  {
    const std::lock_guard lock(graphs().mutex);
    graphs().captures[stream] = {};
  }
  stream->begin_capture();
  return cudaSuccess;
}

cudaError_t end_capture(cudaStream_t handle, cudaGraph_t* result) {
  auto* const stream = captured_stream("cudaStreamEndCapture", handle);
  if (result == nullptr) return cudaErrorInvalidValue;
  *result = nullptr;
  if (stream == nullptr || !stream->capturing()) return cudaErrorIllegalState;
  auto works = stream->end_capture();
  const std::lock_guard lock(graphs().mutex);
  const auto capture = std::move(graphs().captures[stream]);
  graphs().captures.erase(stream);
  if (!capture.valid) return cudaErrorStreamCaptureInvalidated;
  auto graph = std::make_unique<CUgraph_st>();
  graph->graph = {std::move(works), capture.executions};
  *result = graph.get();
  graphs().graphs.emplace(*result, std::move(graph));
  return cudaSuccess;
}

cudaError_t instantiate(cudaGraphExec_t* result, cudaGraph_t graph) {
  count_call("cudaGraphInstantiateWithFlags");
  const std::lock_guard lock(graphs().mutex);
  const auto found = graphs().graphs.find(graph);
  if (result == nullptr || found == graphs().graphs.end()) return cudaErrorInvalidValue;
  auto executable = std::make_unique<CUgraphExec_st>();
  executable->graph = found->second->graph;
  *result = executable.get();
  graphs().executables.emplace(*result, std::move(executable));
  return cudaSuccess;
}

cudaError_t launch(cudaGraphExec_t executable, cudaStream_t handle) {
  auto* const stream = captured_stream("cudaGraphLaunch", handle);
  if (stream == nullptr) return cudaErrorInvalidValue;
  if (stream->capturing()) return cudaErrorStreamCaptureUnsupported;
  Graph graph;
  {
    const std::lock_guard lock(graphs().mutex);
    const auto found = graphs().executables.find(executable);
    if (found != graphs().executables.end()) graph = found->second->graph;
  }
  if (graph.works.empty()) {
    breached("cudaGraphLaunch: the graph was destroyed, or nothing was captured");
    return cudaErrorInvalidValue;
  }
  for (const auto& execution : graph.executions) {
    if (!execution->may_launch()) return cudaErrorIllegalState;
  }
  for (const auto& execution : graph.executions) execution->begin("cudaGraphLaunch", *stream);
  for (auto& work : graph.works) stream->enqueue(std::move(work));
  return cudaSuccess;
}

template <class Table>
cudaError_t erase(const char* function, Table Graphs::* table, typename Table::key_type handle) {
  count_call(function);
  typename Table::node_type found;  // outlives the lock: its destructor may free memory
  const std::lock_guard lock(graphs().mutex);
  found = (graphs().*table).extract(handle);
  if (!found.empty()) return cudaSuccess;
  breached(function, ": called on an object that does not exist");
  return cudaErrorInvalidValue;
}

}  // namespace

}  // namespace trtserve::fake::trt

namespace trt = trtserve::fake::trt;

EXPORTED cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  return trt::answer(trt::begin_capture(stream));
}

EXPORTED cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return trt::answer(trt::end_capture(stream, graph));
}

EXPORTED cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                                   unsigned long long /*flags*/) {
  return trt::answer(trt::instantiate(executable, graph));
}

EXPORTED cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return trt::answer(trt::launch(executable, stream));
}

EXPORTED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return trt::answer(trt::erase("cudaGraphExecDestroy", &trt::Graphs::executables, executable));
}

EXPORTED cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return trt::answer(trt::erase("cudaGraphDestroy", &trt::Graphs::graphs, graph));
}
