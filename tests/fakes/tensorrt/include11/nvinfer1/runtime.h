#pragma once

#include "nvinfer1/engine.h"
#include "nvinfer1/error_recorder.h"
#include "nvinfer1/gpu_allocator.h"
#include "nvinfer1/logger.h"
#include "nvinfer1/plugin_registry.h"

namespace nvinfer1 {

class IRuntime : public INoCopy {
 public:
  ~IRuntime() noexcept override = default;
  virtual void setGpuAllocator(IGpuAllocator* allocator) noexcept = 0;
  virtual void setErrorRecorder(IErrorRecorder* recorder) noexcept = 0;
  virtual IErrorRecorder* getErrorRecorder() const noexcept = 0;
  virtual ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept = 0;
  virtual ILogger* getLogger() const noexcept = 0;
  virtual bool setMaxThreads(int32_t maxThreads) noexcept = 0;
  virtual int32_t getMaxThreads() const noexcept = 0;
  virtual IPluginRegistry& getPluginRegistry() noexcept = 0;
  virtual void setEngineHostCodeAllowed(bool allowed) noexcept = 0;
  virtual bool getEngineHostCodeAllowed() const noexcept = 0;
};

}  // namespace nvinfer1
