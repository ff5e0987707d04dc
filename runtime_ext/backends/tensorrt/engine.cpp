#include "backends/tensorrt/engine.h"

#include <algorithm>

#include <c10/core/DeviceGuard.h>

#include "backends/tensorrt/allocator.h"
#include "backends/tensorrt/device_scope.h"
#include "backends/tensorrt/execution_context.h"
#include "backends/tensorrt/generation.h"
#include "backends/tensorrt/logger.h"
#include "backends/tensorrt/own_streams.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

// Two, so that one copies while the other computes; one if each instance needs its own copy of the weights.
constexpr int kDefaultInstances = generation::kProfilesAreShared ? 2 : 1;

std::string describe_compatibility(int32_t level) {
  switch (level) {
    case 0:
      return "none: the GPU model that the plan was built on";
    case 1:
      return "Ampere and later";
    case 2:
      return "the same compute capability";
    default:
      return c10::str("level ", level);
  }
}

}  // namespace

int TensorRtEngine::instances(const LoadOptions& options) {
  return options.instances > 0 ? options.instances : kDefaultInstances;
}

TensorRtEngine::TensorRtEngine(std::shared_ptr<TensorRtRuntime> runtime,
                               std::vector<std::unique_ptr<nvinfer1::ICudaEngine>> engines, at::Device device,
                               const LoadOptions& options, MemoryByKind loaded)
    : runtime_(std::move(runtime)),
      engines_(std::move(engines)),
      device_(device),
      instances_(instances(options)),
      loaded_(std::move(loaded)),
      label_(options.name.empty() ? "an engine" : options.name),
      tensors_(read_tensors(first())),
      graph_policy_(parse_graph_mode(options.cuda_graphs), counters_) {
  if (generation::streams_weights(first())) {
    graph_policy_.disable(label_, "it streams its weights, which cannot be captured");
  }
}

TensorRtEngine::~TensorRtEngine() {
  const DeviceScope on(device_);
  engines_.clear();
}

std::map<std::string, std::string> TensorRtEngine::properties() const {
  const char* network = first().getName();
  std::map<std::string, std::string> all = {
      {"tensorrt", runtime_->library().version()},
      {"network", network == nullptr ? "" : network},
      {"profiles", std::to_string(tensors_.profiles)},
      {"layers", std::to_string(first().getNbLayers())},
      {"device_memory_bytes", std::to_string(generation::most_scratch_bytes(first()))},
  };
  if (const auto streams = generation::aux_streams(first())) all["aux_streams"] = std::to_string(*streams);
  if (const auto bytes = generation::weights_bytes(first())) all["weights_bytes"] = std::to_string(*bytes);
  if (const auto level = generation::hardware_compatibility(first())) {
    all["hardware_compatibility"] = describe_compatibility(*level);
  }
  return all;
}

std::string TensorRtEngine::layers() const {
  const std::lock_guard lock(making_);
  clear_errors();
  const std::unique_ptr<nvinfer1::IEngineInspector> inspector(first().createEngineInspector());
  const char* json = inspector ? inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON) : nullptr;
  if (json == nullptr) fail_with_reason(Kind::Unsupported, "TensorRT does not report this engine's layers");
  return json;
}

std::map<std::string, int64_t> TensorRtEngine::counters() const {
  return {
      {"contexts_discarded", counters_.contexts_discarded}, {"cuda_graph_captures", counters_.cuda_graph_captures},
      {"cuda_graph_replays", counters_.cuda_graph_replays}, {"cuda_graphs_disabled", counters_.cuda_graphs_disabled},
      {"scratch_bytes", counters_.scratch_bytes},
  };
}

MemoryByKind TensorRtEngine::memory() const {
  auto memory = loaded_;
  memory["contexts"] = counters_.context_bytes + counters_.scratch_bytes;
  memory["graphs"] = counters_.graph_bytes;
  return memory;
}

std::unique_ptr<ExecutionContext> TensorRtEngine::create_context() {
  const c10::DeviceGuard on(device_);
  return std::make_unique<TensorRtContext>(*this, contexts_made_++ % engines_.size());
}

std::unique_ptr<DeviceStream> TensorRtEngine::create_stream() {
  const c10::DeviceGuard on(device_);
  return own_stream(runtime_->shared_cuda(), device_, wait());
}

void TensorRtEngine::add(TensorRtContext& context) {
  const std::lock_guard lock(contexts_mutex_);
  contexts_.push_back(&context);
}

void TensorRtEngine::remove(TensorRtContext& context) {
  const std::lock_guard lock(contexts_mutex_);
  contexts_.erase(std::find(contexts_.begin(), contexts_.end(), &context));
}

void TensorRtEngine::free_graphs() noexcept {
  const std::lock_guard lock(contexts_mutex_);
  for (auto* context : contexts_) context->free_graphs();
}

std::unique_ptr<ProfileContext> TensorRtEngine::create_profile_context(size_t copy, int32_t profile,
                                                                       c10::Stream stream) {
  const std::lock_guard lock(making_);
  const AllocationTally tally;
  auto context = std::make_unique<ProfileContext>(*engines_[copy], tensors_, profile, stream);
  context->count({counters_.context_bytes, tally.bytes()});
  return context;
}

}  // namespace trtserve::tensorrt
