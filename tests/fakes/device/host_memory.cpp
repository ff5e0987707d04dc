#include "host_memory.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "graveyard.h"

namespace trtserve::fake {

namespace {

constexpr size_t kAlignment = 64;             // of torch's own allocator
constexpr size_t kMostBuried = size_t{4096};  // bytes of a block: larger ones would crowd the device's out

struct Block {
  Memory memory;
  size_t size;
};

void release(void* context) {
  const std::unique_ptr<Block> block(static_cast<Block*>(context));
  if (block->size <= kMostBuried) return graveyard().bury(std::move(block->memory), block->size);
  std::memset(block->memory.get(), Graveyard::kPoison, block->size);
}

}  // namespace

c10::DataPtr HostMemory::allocate(size_t size) {
  if (size == 0) return {nullptr, c10::DeviceType::CPU};
  const size_t whole = (size + kAlignment - 1) / kAlignment * kAlignment;
  auto block =
      std::make_unique<Block>(Block{Memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, whole))), size});
  if (!block->memory) throw std::bad_alloc();
  void* address = block->memory.get();
  return {address, block.release(), &release, c10::DeviceType::CPU};
}

void HostMemory::copy_data(void* dest, const void* src, size_t count) const { default_copy_data(dest, src, count); }

HostMemory& host_memory() {
  static HostMemory& memory = *std::make_unique<HostMemory>().release();
  return memory;
}

}  // namespace trtserve::fake
