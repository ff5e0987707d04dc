#include "host_memory.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include "graveyard.h"

namespace trtserve::fake {

namespace {

constexpr size_t kAlignment = 64;             // of torch's own allocator
constexpr size_t kMostBuried = size_t{4096};  // bytes of a block: larger ones would crowd the device's out

}  // namespace

c10::DataPtr HostMemory::allocate(size_t size) {
  if (size == 0) return {nullptr, c10::DeviceType::CPU};
  const size_t whole = (size + kAlignment - 1) / kAlignment * kAlignment;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, whole)));
  TORCH_CHECK(memory, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", size, " bytes.");
  {
    const std::lock_guard lock(mutex_);
    sizes_.emplace(memory.get(), size);
  }
  void* address = memory.release();
  return {address, address, &release, c10::DeviceType::CPU};
}

c10::DeleterFnPtr HostMemory::raw_deleter() const { return &release; }

void HostMemory::release(void* address) {
  if (address == nullptr) return;
  auto& host = host_memory();
  size_t size = 0;
  {
    const std::lock_guard lock(host.mutex_);
    if (auto known = host.sizes_.extract(address)) size = known.mapped();
  }
  // Whatever was raw-allocated before this became torch's allocator.
  if (size == 0) return c10::GetDefaultCPUAllocator()->raw_deallocate(address);
  Memory memory(static_cast<std::byte*>(address));
  if (size <= kMostBuried) return graveyard().bury(std::move(memory), size);
  std::memset(memory.get(), Graveyard::kPoison, size);
}

void HostMemory::copy_data(void* dest, const void* src, size_t count) const { default_copy_data(dest, src, count); }

HostMemory& host_memory() {
  static HostMemory& memory = *std::make_unique<HostMemory>().release();
  return memory;
}

}  // namespace trtserve::fake
