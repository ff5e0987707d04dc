#pragma once

#include <array>
#include <mutex>

#include <c10/core/CachingDeviceAllocator.h>

#include "blocks.h"
#include "machine.h"

namespace trtserve::fake {

/// torch's allocator for the devices. A block belongs to the stream that was current on the allocating thread, and is
/// released in that stream's order. Thread safe.
class DeviceMemory final : public c10::DeviceAllocator {
 public:
  /// Allocates on the thread's current device. Throws OutOfMemoryError beyond the limit. Records a breach while the
  /// thread's current stream is capturing.
  c10::DataPtr allocate(size_t size) override;
  c10::DeleterFnPtr raw_deleter() const override;
  /// Copies in the order of the thread's current stream.
  void copy_data(void* dest, const void* src, size_t count) const override;

  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t pool = {0, 0}) override;
  void recordStream(const c10::DataPtr& data, c10::Stream stream) override;
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override;
  void resetAccumulatedStats(c10::DeviceIndex device) override;
  void resetPeakStats(c10::DeviceIndex device) override;
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override;

  // The bytes allocated on all devices. A freed block counts as returned immediately, even if its streams have not
  // reached the free yet.
  int64_t allocated() const;
  int64_t peak() const;
  void reset_peak();
  /// Sets the limit of each device; negative for none.
  void set_limit(int64_t bytes);
  /// The device of the block that contains the address.
  std::optional<int> device_of(const void* address) const { return blocks_.device_of(address); }
  /// The number of bytes from the address to the end of the block that contains it; 0 if no block does.
  size_t bytes_from(const void* address) const { return blocks_.bytes_from(address); }

 private:
  static void release(void* address);
  void reserve(size_t size, int device);
  void give_back(void* address);

  Blocks blocks_;
  mutable std::mutex mutex_;
  std::array<c10::CachingDeviceAllocator::DeviceStats, kMaxDevices> stats_;  // guarded by mutex_
  c10::CachingAllocator::Stat total_;                                        // guarded by mutex_
  int64_t limit_ = -1;                                                       // guarded by mutex_
};

/// The only instance. Never destroyed: tensors may outlive everything.
DeviceMemory& device_memory();

}  // namespace trtserve::fake
