#include "blocks.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "graveyard.h"

namespace trtserve::fake {

namespace {

constexpr size_t kAlignment = 512;
constexpr int kFresh = 0xCD;  // fills memory that has not been written

Memory acquire(size_t size) {
  const size_t whole = (size + kAlignment - 1) / kAlignment * kAlignment;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, whole)));
  if (!memory) throw std::bad_alloc();
  std::memset(memory.get(), kFresh, size);
  return memory;
}

}  // namespace

/// The last reference releases the memory.
struct Blocks::Block {
  Block(size_t bytes, Stream* of_stream, int of_device)
      : size(bytes), owner(of_stream), device(of_device), memory(acquire(bytes)) {}
  ~Block() { graveyard().bury(std::move(memory), size); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const size_t size;
  Stream* const owner;
  const int device;
  Memory memory;
  std::set<Stream*> users;
};

void* Blocks::allocate(size_t size, Stream* owner, int device) {
  auto block = std::make_shared<Block>(size, owner, device);
  if (owner != nullptr) block->users.insert(owner);
  auto* address = block->memory.get();
  const std::lock_guard lock(mutex_);
  live_.emplace(address, std::move(block));
  return address;
}

bool Blocks::use(const void* address, Stream& stream) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(static_cast<const std::byte*>(address));
  if (found == live_.end()) return false;
  found->second->users.insert(&stream);
  return true;
}

std::optional<Blocks::Freed> Blocks::free(void* address) {
  std::shared_ptr<Block> block;
  {
    const std::lock_guard lock(mutex_);
    auto found = live_.extract(static_cast<const std::byte*>(address));
    if (found) block = std::move(found.mapped());
  }
  if (!block) {
    breach("Memory was freed that was not allocated.");
    return std::nullopt;
  }
  for (auto* stream : block->users) {
    // torch's allocators record an event on each of them but the owner, which the capture would take.
    if (stream != block->owner && stream->capturing())
      breach("Memory was freed that had been used on a stream, while that stream captured.");
    stream->enqueue_release([block] {});
  }
  return Freed{block->size, block->device};
}

const Blocks::Block* Blocks::find(const std::byte* inside) const {
  const auto after = live_.upper_bound(inside);
  if (after == live_.begin()) return nullptr;
  const auto& [begin, block] = *std::prev(after);
  return inside < begin + block->size ? block.get() : nullptr;
}

std::optional<int> Blocks::device_of(const void* inside) const {
  const std::lock_guard lock(mutex_);
  const auto* block = find(static_cast<const std::byte*>(inside));
  return block == nullptr ? std::nullopt : std::optional(block->device);
}

size_t Blocks::bytes_from(const void* inside) const {
  const auto* address = static_cast<const std::byte*>(inside);
  const std::lock_guard lock(mutex_);
  const auto* block = find(address);
  return block == nullptr ? 0 : static_cast<size_t>(block->memory.get() + block->size - address);
}

}  // namespace trtserve::fake
