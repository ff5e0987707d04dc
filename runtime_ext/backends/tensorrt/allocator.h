#pragma once

#include <mutex>
#include <unordered_map>

#include <c10/core/Allocator.h>
#include <c10/core/Stream.h>

#include "backends/tensorrt/generation.h"

namespace trtserve::tensorrt {

/// TensorRT's device memory, out of torch's caching allocator: one pool for both, whose numbers are true.
///
/// A block of torch's belongs to a stream, in whose order it is given out again. So a block for a stream that
/// torch knows (the calling thread's current one, or the default stream) is allocated on that one; a block for
/// any other is waited for. Thread safe.
class Allocator final : public generation::GpuAllocator {
 public:
  explicit Allocator(c10::DeviceType type) : type_(type) {}

  /// Null, with the reason among the thread's errors, where the device has not so much memory.
  void* allocateAsync(uint64_t size, uint64_t alignment, nvinfer1::AllocatorFlags flags,
                      cudaStream_t stream) noexcept override;
  bool deallocateAsync(void* memory, cudaStream_t stream) noexcept override;

 private:
  struct Block {
    at::DataPtr memory;
    c10::Stream stream;  // in whose order it is given out again
  };

  const c10::DeviceType type_;
  std::mutex mutex_;                         // protects blocks_; not held while torch allocates or frees
  std::unordered_map<void*, Block> blocks_;  // guarded by mutex_; by address
};

}  // namespace trtserve::tensorrt
