#pragma once

#include <atomic>

#include <ATen/core/CachingHostAllocator.h>

#include "blocks.h"

namespace trtserve::fake {

/// torch's allocator for pinned host memory. A freed block is kept until the streams recorded for it have reached that
/// point. Thread safe.
class PinnedMemory final : public at::HostAllocator {
 public:
  /// Records a breach while the thread's current stream is capturing.
  at::DataPtr allocate(size_t size) override;
  at::DeleterFnPtr raw_deleter() const override;
  void copy_data(void* dest, const void* src, size_t count) const override { default_copy_data(dest, src, count); }

  bool record_event(void* ptr, void* ctx, c10::Stream stream) override;
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

  bool owns(const void* address) const { return blocks_.device_of(address).has_value(); }
  /// The bytes allocated. A freed block counts as returned immediately.
  int64_t allocated() const { return allocated_; }

 private:
  static void release(void* address);

  Blocks blocks_;
  std::atomic<int64_t> allocated_{0};
};

/// The only instance. Never destroyed: tensors may outlive everything.
PinnedMemory& pinned_memory();

}  // namespace trtserve::fake
