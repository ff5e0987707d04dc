#include "engine.h"

// The methods of engines that TensorRT 8 does not have.

namespace trtserve::fake::trt {

using nvinfer1::ExecutionContextAllocationStrategy;
using nvinfer1::OptProfileSelector;
using nvinfer1::TensorFormat;

namespace {

ScratchMemory scratch_memory_of(ExecutionContextAllocationStrategy strategy) {
  switch (strategy) {
    case ExecutionContextAllocationStrategy::kSTATIC:
      return ScratchMemory::ForAllProfiles;
    case ExecutionContextAllocationStrategy::kON_PROFILE_CHANGE:
      return ScratchMemory::ForEachProfile;
    case ExecutionContextAllocationStrategy::kUSER_MANAGED:
      break;
  }
  return ScratchMemory::OfApplication;
}

}  // namespace

nvinfer1::IExecutionContext* Engine::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
  const Call call(object_, "createExecutionContext", Use::Shared);
  return create_context(call, "createExecutionContext", scratch_memory_of(strategy));
}

int64_t Engine::getDeviceMemorySizeV2() const noexcept {
  const Call call(object_, "getDeviceMemorySizeV2", Use::Shared);
  return call ? call->plan->most_scratch_bytes() : 0;
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

char const* Engine::getAliasedInputTensor(char const* /*name*/) const noexcept {
  const Call call(object_, "getAliasedInputTensor", Use::Shared);
  return nullptr;
}

int32_t Engine::getTensorBytesPerComponent(char const* name, int32_t profile) const noexcept {
  const Call call(object_, "getTensorBytesPerComponent", Use::Shared);
  return bytes_per_component(find_tensor(call, name, profile));
}

int32_t Engine::getTensorComponentsPerElement(char const* name, int32_t profile) const noexcept {
  const Call call(object_, "getTensorComponentsPerElement", Use::Shared);
  return components_per_element(find_tensor(call, name, profile));
}

TensorFormat Engine::getTensorFormat(char const* name, int32_t profile) const noexcept {
  const Call call(object_, "getTensorFormat", Use::Shared);
  return format_of(find_tensor(call, name, profile));
}

char const* Engine::getTensorFormatDesc(char const* name, int32_t profile) const noexcept {
  const Call call(object_, "getTensorFormatDesc", Use::Shared);
  return describe_format(find_tensor(call, name, profile));
}

int32_t Engine::getTensorVectorizedDim(char const* name, int32_t profile) const noexcept {
  const Call call(object_, "getTensorVectorizedDim", Use::Shared);
  return vectorized_dim(find_tensor(call, name, profile));
}

int64_t const* Engine::getProfileTensorValuesV2(char const* name, int32_t profile,
                                                OptProfileSelector select) const noexcept {
  const Call call(object_, "getProfileTensorValuesV2", Use::Shared);
  return profile_values(call, find_tensor(call, name, profile), profile, select);
}

}  // namespace trtserve::fake::trt
