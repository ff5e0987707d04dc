#pragma once

#include <mutex>
#include <unordered_map>

#include <c10/core/Allocator.h>
#include <c10/core/Stream.h>

#include "backends/tensorrt/generation.h"

namespace trtserve::tensorrt {

/// Counts what this thread allocates for TensorRT, less what it frees, in bytes, while this exists. TensorRT allocates
/// on the thread that calls it. Not thread safe; one at a time on a thread.
class AllocationTally {
 public:
  AllocationTally();
  ~AllocationTally();
  AllocationTally(const AllocationTally&) = delete;
  AllocationTally& operator=(const AllocationTally&) = delete;

  int64_t bytes() const { return bytes_; }

 private:
  friend class Allocator;
  int64_t bytes_ = 0;
};

/// Allocates TensorRT's device memory from torch's caching allocator: one shared pool, whose statistics are complete.
///
/// Each torch block belongs to a stream, and is reused in that stream's order. So a block for a stream that torch knows
/// (the calling thread's current stream, or the default stream) is allocated on that stream; for any other stream, the
/// allocation waits for the block's own. Thread safe.
class Allocator final : public generation::GpuAllocator {
 public:
  explicit Allocator(c10::DeviceType type) : type_(type) {}

  /// Returns null, with the reason in the thread's errors, if the device has too little memory.
  void* allocateAsync(uint64_t size, uint64_t alignment, nvinfer1::AllocatorFlags flags,
                      cudaStream_t stream) noexcept override;
  bool deallocateAsync(void* memory, cudaStream_t stream) noexcept override;

 private:
  struct Block {
    at::DataPtr memory;
    uint64_t size;
    c10::Stream stream;  // the block is reused in this stream's order
  };

  const c10::DeviceType type_;
  std::mutex mutex_;                         // protects blocks_; not held while torch allocates or frees
  std::unordered_map<void*, Block> blocks_;  // guarded by mutex_; by address
};

}  // namespace trtserve::tensorrt
