#include "backends/tensorrt/engine.h"

#include <c10/core/DeviceGuard.h>

#include "backends/tensorrt/device_scope.h"
#include "backends/tensorrt/execution_context.h"
#include "backends/tensorrt/logger.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

// Two, so that one copies while the other computes.
constexpr int kDefaultInstances = 2;

/// The runtime's headers only name the enumeration; its values stand in the builder's (NvInfer.h).
std::string describe(nvinfer1::HardwareCompatibilityLevel level) {
  switch (static_cast<int32_t>(level)) {
    case 0:
      return "none: the GPU model that the plan was built on";
    case 1:
      return "Ampere and later";
    case 2:
      return "the same compute capability";
    default:
      return c10::str("level ", static_cast<int32_t>(level));
  }
}

}  // namespace

TensorRtEngine::TensorRtEngine(std::shared_ptr<TensorRtRuntime> runtime, std::unique_ptr<nvinfer1::ICudaEngine> engine,
                               at::Device device, const LoadOptions& options)
    : runtime_(std::move(runtime)),
      engine_(std::move(engine)),
      device_(device),
      instances_(options.instances > 0 ? options.instances : kDefaultInstances),
      label_(options.name.empty() ? "an engine" : options.name),
      tensors_(read_tensors(*engine_)),
      graph_policy_(parse_graph_mode(options.cuda_graphs), runtime_->graph_api(), counters_) {
  if (engine_->getWeightStreamingBudgetV2() < engine_->getStreamableWeightsSize()) {
    graph_policy_.disable(label_, "it streams its weights, which cannot be captured");
  }
}

TensorRtEngine::~TensorRtEngine() {
  const DeviceScope on(device_);
  engine_.reset();
}

std::map<std::string, std::string> TensorRtEngine::properties() const {
  const char* network = engine_->getName();
  return {
      {"tensorrt", runtime_->library().version()},
      {"network", network == nullptr ? "" : network},
      {"profiles", std::to_string(tensors_.profiles)},
      {"layers", std::to_string(engine_->getNbLayers())},
      {"aux_streams", std::to_string(engine_->getNbAuxStreams())},
      {"device_memory_bytes", std::to_string(engine_->getDeviceMemorySizeV2())},
      {"weights_bytes", std::to_string(engine_->getEngineStat(nvinfer1::EngineStat::kTOTAL_WEIGHTS_SIZE))},
      {"hardware_compatibility", describe(engine_->getHardwareCompatibilityLevel())},
  };
}

std::string TensorRtEngine::layers() const {
  const std::lock_guard lock(making_);
  clear_errors();
  const std::unique_ptr<nvinfer1::IEngineInspector> inspector(engine_->createEngineInspector());
  const char* json = inspector ? inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON) : nullptr;
  if (json == nullptr) fail_with_reason(Kind::Unsupported, "TensorRT tells nothing of this engine's layers");
  return json;
}

std::map<std::string, int64_t> TensorRtEngine::counters() const {
  return {
      {"contexts_discarded", counters_.contexts_discarded}, {"cuda_graph_captures", counters_.cuda_graph_captures},
      {"cuda_graph_replays", counters_.cuda_graph_replays}, {"cuda_graphs_disabled", counters_.cuda_graphs_disabled},
      {"scratch_bytes", counters_.scratch_bytes},
  };
}

std::unique_ptr<ExecutionContext> TensorRtEngine::create_context() {
  const c10::DeviceGuard on(device_);
  return std::make_unique<TensorRtContext>(*this);
}

std::unique_ptr<ProfileContext> TensorRtEngine::create_profile_context(int32_t profile, c10::Stream stream) {
  const std::lock_guard lock(making_);
  return std::make_unique<ProfileContext>(*engine_, tensors_, profile, stream);
}

}  // namespace trtserve::tensorrt
