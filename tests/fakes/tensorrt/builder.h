#pragma once

#include <new>

#include "build_state.h"
#include "plugin_registry.h"

namespace trtserve::fake::trt {

/// The API's builder: see contract.h for its deletion and thread safety.
class Builder final : public nvinfer1::IBuilder {
 public:
  explicit Builder(nvinfer1::ILogger& logger)
      : object_("builder", std::make_shared<BuilderState>(logger)), registry_(logger) {}
  ~Builder() override = default;
  static void operator delete(Builder* self, std::destroying_delete_t);

  void setGpuAllocator(nvinfer1::IGpuAllocator* allocator) noexcept override;
  nvinfer1::IBuilderConfig* createBuilderConfig() noexcept override;
  nvinfer1::INetworkDefinition* createNetworkV2(nvinfer1::NetworkDefinitionCreationFlags flags) noexcept override;
  nvinfer1::IOptimizationProfile* createOptimizationProfile() noexcept override;
  nvinfer1::IHostMemory* buildSerializedNetwork(nvinfer1::INetworkDefinition& network,
                                                nvinfer1::IBuilderConfig& config) noexcept override;
  nvinfer1::IPluginRegistry& getPluginRegistry() noexcept override { return registry_; }

 private:
  Owned<BuilderState> object_;
  PluginRegistry registry_;
};

}  // namespace trtserve::fake::trt
