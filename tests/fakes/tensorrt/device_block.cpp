#include "device_block.h"

#include <cstdlib>

#include "contract.h"
#include "generation.h"
#include "pattern.h"

namespace trtserve::fake::trt {

namespace {

constexpr uint64_t kAlignment = 256;  // what cudaMalloc guarantees
constexpr uint64_t kPattern = 0x5AA5'5AA5'5AA5'5AA5;

/// Allocates host memory, if the application set no allocator.
void* allocate_default(uint64_t bytes) {
  return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}

}  // namespace

std::shared_ptr<DeviceBlock> DeviceBlock::allocate(nvinfer1::IGpuAllocator* allocator, int64_t bytes) {
  if (bytes == 0) return std::make_shared<DeviceBlock>(allocator, nullptr, 0);
  const auto size = static_cast<uint64_t>(bytes);
  void* address = nullptr;
  if (allocator == nullptr) {
    address = allocate_default(size);
  } else {
    count_call("allocate");
    address = trt::allocate(*allocator, size, kAlignment);
    if (address != nullptr) count_allocated(bytes);
  }
  if (address == nullptr) return nullptr;
  if (reinterpret_cast<uintptr_t>(address) % kAlignment != 0) {
    breached("allocate: the memory is not aligned to ", kAlignment, " bytes, as requested");
  }
  return std::make_shared<DeviceBlock>(allocator, address, bytes);
}

DeviceBlock::DeviceBlock(nvinfer1::IGpuAllocator* allocator, void* address, int64_t bytes)
    : allocator_(allocator), address_(address), bytes_(bytes) {
  fill(address_, bytes_, kPattern);
}

DeviceBlock::~DeviceBlock() { release(); }

void DeviceBlock::release() {
  {
    const std::lock_guard lock(mutex_);
    if (released_ || address_ == nullptr) return;
    released_ = true;
  }
  // Without the lock: the allocator may wait for work that waits for the lock.
  if (allocator_ == nullptr) return std::free(address_);  // NOLINT(cppcoreguidelines-owning-memory)
  count_call("deallocate");
  count_allocated(-bytes_);
  if (!deallocate(*allocator_, address_)) {
    breached("deallocate: refused memory that allocate had given");
  }
}

void DeviceBlock::check(const char* what) {
  const std::lock_guard lock(mutex_);
  if (released_) {
    breached("enqueueV3: the work ran after its ", what, " had been destroyed");
  } else if (!filled(address_, bytes_, kPattern)) {
    breached("enqueueV3: another writer changed the memory of the ", what);
  }
}

}  // namespace trtserve::fake::trt
