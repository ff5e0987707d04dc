#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include <NvInferRuntime.h>

namespace trtserve::fake::trt {

/// Device memory of an engine's or a context's own, out of the application's allocator or, where it set none, of
/// the host. It is filled with a pattern, by which kernels see that nobody else wrote there. Thread safe.
class DeviceBlock {
 public:
  /// Null where there was no memory.
  static std::shared_ptr<DeviceBlock> allocate(nvinfer1::IGpuAllocator* allocator, int64_t bytes);

  DeviceBlock(nvinfer1::IGpuAllocator* allocator, void* address, int64_t bytes);
  ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  /// Gives the memory back; its owner does so once, when it is destroyed.
  void release();

  void* address() const { return address_; }
  int64_t bytes() const { return bytes_; }

  /// A breach, naming what the memory is, where the pattern is no more or the memory was given back.
  void check(const char* what);

 private:
  nvinfer1::IGpuAllocator* const allocator_;
  void* const address_;  // null where bytes_ is 0
  const int64_t bytes_;
  std::mutex mutex_;       // held while the memory is looked at, so that it is not given back meanwhile
  bool released_ = false;  // guarded by mutex_
};

}  // namespace trtserve::fake::trt
