#pragma once

#include "nvinfer1/builder_config.h"
#include "nvinfer1/gpu_allocator.h"
#include "nvinfer1/network.h"
#include "nvinfer1/plugin_registry.h"

namespace nvinfer1 {

using NetworkDefinitionCreationFlags = uint32_t;

class IBuilder : public INoCopy {
 public:
  ~IBuilder() noexcept override = default;
  virtual void setGpuAllocator(IGpuAllocator* allocator) noexcept = 0;
  virtual IBuilderConfig* createBuilderConfig() noexcept = 0;
  virtual INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags flags) noexcept = 0;
  virtual IOptimizationProfile* createOptimizationProfile() noexcept = 0;
  virtual IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept = 0;
  virtual IPluginRegistry& getPluginRegistry() noexcept = 0;
};

}  // namespace nvinfer1

extern "C" {
/// Returns the builder, an nvinfer1::IBuilder*; `version` is the caller's NV_TENSORRT_VERSION.
TENSORRTAPI void* createInferBuilder_INTERNAL(void* logger, int32_t version) noexcept;
}
