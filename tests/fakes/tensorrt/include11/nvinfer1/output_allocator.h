#pragma once

#include "nvinfer1/interface.h"
#include "nvinfer1/tensor.h"

namespace nvinfer1 {

namespace v_1_0 {

/// Implemented by the application, and called within enqueueV3().
class IOutputAllocator : public IVersionedInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"IOutputAllocator", 1, 0}; }
  virtual void* reallocateOutput(char const* /*tensorName*/, void* /*currentMemory*/, uint64_t /*size*/,
                                 uint64_t /*alignment*/) noexcept {
    return nullptr;
  }
  virtual void* reallocateOutputAsync(char const* tensorName, void* currentMemory, uint64_t size, uint64_t alignment,
                                      cudaStream_t /*stream*/) {
    return reallocateOutput(tensorName, currentMemory, size, alignment);
  }
  virtual void notifyShape(char const* tensorName, Dims const& dims) noexcept = 0;
};

}  // namespace v_1_0

using IOutputAllocator = v_1_0::IOutputAllocator;

}  // namespace nvinfer1
