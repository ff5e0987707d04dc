#pragma once

#include <new>

#include "contract.h"
#include "state.h"
#if NV_TENSORRT_MAJOR >= 10
#include "plugin_registry.h"
#endif

namespace trtserve::fake::trt {

/// The API's runtime: see contract.h for its deletion and thread safety.
class Runtime final : public nvinfer1::IRuntime {
 public:
  explicit Runtime(nvinfer1::ILogger& logger);
  ~Runtime() override = default;
  static void operator delete(Runtime* self, std::destroying_delete_t);

  void setGpuAllocator(nvinfer1::IGpuAllocator* allocator) noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;
  nvinfer1::ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override;
  nvinfer1::ILogger* getLogger() const noexcept override;
  bool setMaxThreads(int32_t count) noexcept override;
  int32_t getMaxThreads() const noexcept override;
#if NV_TENSORRT_MAJOR >= 10
  nvinfer1::IPluginRegistry& getPluginRegistry() noexcept override;
  void setEngineHostCodeAllowed(bool allowed) noexcept override;
  bool getEngineHostCodeAllowed() const noexcept override;
#endif

 private:
  mutable Owned<RuntimeState> object_;
#if NV_TENSORRT_MAJOR >= 10
  PluginRegistry registry_{object_.get()->reporter.logger()};
#endif
};

}  // namespace trtserve::fake::trt
