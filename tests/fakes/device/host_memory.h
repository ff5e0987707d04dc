#pragma once

#include <c10/core/Allocator.h>

namespace trtserve::fake {

/// torch's allocator for host memory, which poisons what is freed: whoever still reads it sees other values. Late
/// writes to small blocks are detected. Stateless. Thread safe.
class HostMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override;
  void copy_data(void* dest, const void* src, size_t count) const override;
};

/// The only instance. Never destroyed: tensors may outlive everything.
HostMemory& host_memory();

}  // namespace trtserve::fake
