#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include <NvInferRuntime.h>

namespace trtserve::fake::trt {

/// An engine's or context's own device memory, from the application's allocator or, if it set none, from the host. It
/// is filled with a pattern, so that kernels can detect other writers. Thread safe.
class DeviceBlock {
 public:
  /// Returns null if there is no memory.
  static std::shared_ptr<DeviceBlock> allocate(nvinfer1::IGpuAllocator* allocator, int64_t bytes);

  DeviceBlock(nvinfer1::IGpuAllocator* allocator, void* address, int64_t bytes);
  ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  /// Releases the memory; the owner calls it once, in its destructor.
  void release();

  void* address() const { return address_; }
  int64_t bytes() const { return bytes_; }

  /// Records a breach that names the memory (`what`) if the pattern has changed or the memory was released.
  void check(const char* what);

 private:
  nvinfer1::IGpuAllocator* const allocator_;
  void* const address_;  // null if bytes_ is 0
  const int64_t bytes_;
  std::mutex mutex_;       // held while the memory is read, so that it is not released meanwhile
  bool released_ = false;  // guarded by mutex_
};

}  // namespace trtserve::fake::trt
