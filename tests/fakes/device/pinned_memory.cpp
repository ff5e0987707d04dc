#include "pinned_memory.h"

#include <memory>

#include "current.h"
#include "stream_table.h"

namespace trtserve::fake {

at::DataPtr PinnedMemory::allocate(size_t size) {
  if (size == 0) return {nullptr, nullptr, &release, at::kCPU};
  if (current_is_capturing()) breach("While a stream was capturing, pinned memory was allocated.");
  void* address = blocks_.allocate(size, nullptr, 0);
  allocated_ += static_cast<int64_t>(size);
  return {address, address, &release, at::kCPU};
}

at::DeleterFnPtr PinnedMemory::raw_deleter() const { return &release; }

bool PinnedMemory::record_event(void* ptr, void* ctx, c10::Stream stream) {
  auto& user = stream_table().find(stream);
  return blocks_.use(ctx, user) || blocks_.use(ptr, user);
}

void PinnedMemory::release(void* address) {
  auto& memory = pinned_memory();
  if (const auto freed = memory.blocks_.free(address)) memory.allocated_ -= static_cast<int64_t>(freed->size);
}

PinnedMemory& pinned_memory() {
  static PinnedMemory& memory = *std::make_unique<PinnedMemory>().release();
  return memory;
}

}  // namespace trtserve::fake
