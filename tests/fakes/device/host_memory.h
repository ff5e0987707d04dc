#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_map>

#include <c10/core/Allocator.h>

namespace trtserve::fake {

/// torch's allocator for host memory, which poisons what is freed: whoever still reads it sees other values. Late
/// writes to small blocks are detected. Thread safe.
///
/// A block's context is its address, as with torch's own: kernels such as oneDNN's take memory by raw_allocate().
class HostMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override;
  c10::DeleterFnPtr raw_deleter() const override;
  void copy_data(void* dest, const void* src, size_t count) const override;

 private:
  static void release(void* address);

  std::mutex mutex_;
  std::unordered_map<const void*, size_t> sizes_;  // guarded by mutex_; bytes asked for, by address
};

/// The only instance. Never destroyed: tensors may outlive everything.
HostMemory& host_memory();

}  // namespace trtserve::fake
