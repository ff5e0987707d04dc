#include "engine.h"

#include <algorithm>

#include "context.h"
#include "inspector.h"

// The lifetime and properties of engines; engine_tensors.cpp has the properties of their tensors.

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;
using nvinfer1::ExecutionContextAllocationStrategy;

void Engine::operator delete(Engine* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->destroyed = true;
  state->check_device("delete: the engine was destroyed");
  if (state->contexts > 0) breached("delete: the engine was destroyed before ", state->contexts, " of its contexts");
  if (state->inspectors > 0) breached("delete: the engine was destroyed before its inspector");
  if (state->runtime->destroyed) {
    breached("delete: the engine was destroyed after its runtime");
  } else {
    --state->runtime->engines;
  }
  state->weights->release();
  state->reporter.set_recorder(nullptr);
}

nvinfer1::IExecutionContext* Engine::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
  const Call call(object_, "createExecutionContext", Use::Shared);
  if (!call) return nullptr;
  call->check_device("createExecutionContext: called");
  if (const auto* reason = call->plan->failure("context")) {
    call->reporter.error(ErrorCode::kINTERNAL_ERROR, "createExecutionContext", "Internal Error", *reason);
    return nullptr;
  }
  auto state = create_context_state(call.state(), strategy);
  if (state == nullptr) {
    call->reporter.error(ErrorCode::kFAILED_ALLOCATION, "createExecutionContext", "OutOfMemory",
                         "Requested amount of GPU memory could not be allocated.");
    return nullptr;
  }
  ++call->contexts;
  auto context = std::make_shared<Context>(std::move(state));
  keep(context);
  return context.get();
}

nvinfer1::IEngineInspector* Engine::createEngineInspector() const noexcept {
  const Call call(object_, "createEngineInspector", Use::Shared);
  if (!call) return nullptr;
  ++call->inspectors;
  auto inspector = std::make_shared<Inspector>(std::make_shared<InspectorState>(call.state()));
  keep(inspector);
  return inspector.get();
}

void Engine::setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept {
  const Call call(object_, "setErrorRecorder");
  if (call) call->reporter.set_recorder(recorder);
}

nvinfer1::IErrorRecorder* Engine::getErrorRecorder() const noexcept {
  const Call call(object_, "getErrorRecorder", Use::Shared);
  return call ? call->reporter.recorder() : nullptr;
}

int32_t Engine::getNbLayers() const noexcept {
  const Call call(object_, "getNbLayers", Use::Shared);
  return call ? call->plan->layers : 0;
}

char const* Engine::getName() const noexcept {
  const Call call(object_, "getName", Use::Shared);
  return call ? call->plan->name.c_str() : "";
}

int32_t Engine::getNbOptimizationProfiles() const noexcept {
  const Call call(object_, "getNbOptimizationProfiles", Use::Shared);
  return call ? static_cast<int32_t>(call->plan->profiles.size()) : 0;
}

int64_t Engine::getDeviceMemorySizeV2() const noexcept {
  const Call call(object_, "getDeviceMemorySizeV2", Use::Shared);
  int64_t largest = 0;
  for (int32_t i = 0; call && call->plan->has_profile(i); ++i) {
    largest = std::max(largest, call->plan->scratch_bytes(i));
  }
  return largest;
}

int64_t Engine::getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept {
  const Call call(object_, "getDeviceMemorySizeForProfileV2", Use::Shared);
  if (!call) return 0;
  if (call->plan->has_profile(profile)) return call->plan->scratch_bytes(profile);
  call->reporter.misuse("getDeviceMemorySizeForProfileV2", "there is no profile ", profile);
  return 0;
}

nvinfer1::HardwareCompatibilityLevel Engine::getHardwareCompatibilityLevel() const noexcept {
  const Call call(object_, "getHardwareCompatibilityLevel", Use::Shared);
  return static_cast<nvinfer1::HardwareCompatibilityLevel>(call ? call->plan->hardware : 0);
}

int32_t Engine::getNbAuxStreams() const noexcept {
  const Call call(object_, "getNbAuxStreams", Use::Shared);
  return call ? call->plan->aux_streams : 0;
}

int64_t Engine::getStreamableWeightsSize() const noexcept {
  const Call call(object_, "getStreamableWeightsSize", Use::Shared);
  return call ? call->plan->weights : 0;
}

int64_t Engine::getWeightStreamingBudgetV2() const noexcept {
  const Call call(object_, "getWeightStreamingBudgetV2", Use::Shared);
  return call && !call->plan->streams_weights ? call->plan->weights : 0;
}

int64_t Engine::getEngineStat(nvinfer1::EngineStat stat) const noexcept {
  const Call call(object_, "getEngineStat", Use::Shared);
  return call && stat == nvinfer1::EngineStat::kTOTAL_WEIGHTS_SIZE ? call->plan->weights : -1;
}

}  // namespace trtserve::fake::trt
