#pragma once

#include "nvinfer1/interface.h"
#include "nvinfer1/tensor.h"

namespace nvinfer1 {

/// Implemented by the application, and called within enqueueV3().
class IOutputAllocator {
 public:
  virtual int32_t getInterfaceVersion() const noexcept { return 1; }
  virtual void* reallocateOutput(char const* tensorName, void* currentMemory, uint64_t size,
                                 uint64_t alignment) noexcept = 0;
  virtual void notifyShape(char const* tensorName, Dims const& dims) noexcept = 0;
  virtual ~IOutputAllocator() = default;
};

}  // namespace nvinfer1
