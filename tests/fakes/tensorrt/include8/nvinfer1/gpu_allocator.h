#pragma once

#include "nvinfer1/interface.h"

namespace nvinfer1 {

enum class AllocatorFlag : int32_t { kRESIZABLE = 0 };
using AllocatorFlags = uint32_t;

/// Implemented by the application; thread safe; outlives every object that uses it.
class IGpuAllocator {
 public:
  virtual void* allocate(uint64_t const size, uint64_t const alignment, AllocatorFlags const flags) noexcept = 0;
  virtual void free(void* const memory) noexcept = 0;
  virtual ~IGpuAllocator() = default;
  IGpuAllocator() = default;
  virtual void* reallocate(void* /*baseAddr*/, uint64_t /*alignment*/, uint64_t /*newSize*/) noexcept {
    return nullptr;
  }
  virtual bool deallocate(void* const memory) noexcept {
    this->free(memory);
    return true;
  }

 protected:
  IGpuAllocator(IGpuAllocator const&) = default;
  IGpuAllocator(IGpuAllocator&&) = default;
  IGpuAllocator& operator=(IGpuAllocator const&) & = default;
  IGpuAllocator& operator=(IGpuAllocator&&) & = default;
};

}  // namespace nvinfer1
