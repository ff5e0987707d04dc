#include "graveyard.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <c10/util/StringUtil.h>

#include "stream.h"

namespace trtserve::fake {

namespace {

constexpr size_t kMaxBytes = size_t{16} << 20;

/// Returns false, and records a breach, if the memory was written to.
bool untouched(const std::byte* memory, size_t size) {
  const auto* end = memory + size;
  const auto* touched = std::find_if(memory, end, [](std::byte b) { return b != std::byte{Graveyard::kPoison}; });
  if (touched == end) return true;
  breach(c10::str("Memory was written to after it had been freed: a block of ", size, " bytes, at byte ",
                  touched - memory, "."));
  return false;
}

}  // namespace

void FreeMemory::operator()(std::byte* memory) const { std::free(memory); }

void Graveyard::bury(Memory memory, size_t size) {
  std::memset(memory.get(), kPoison, size);
  const std::lock_guard lock(mutex_);
  graves_.push_back({std::move(memory), size});
  bytes_ += size;
  while (bytes_ > kMaxBytes && graves_.size() > 1) {
    untouched(graves_.front().memory.get(), graves_.front().size);
    bytes_ -= graves_.front().size;
    graves_.pop_front();
  }
}

void Graveyard::check() {
  const std::lock_guard lock(mutex_);
  for (auto& grave : graves_) {
    // Poison again, so that one write is one breach.
    if (!untouched(grave.memory.get(), grave.size)) std::memset(grave.memory.get(), kPoison, grave.size);
  }
}

void Graveyard::clear() {
  check();
  const std::lock_guard lock(mutex_);
  graves_.clear();
  bytes_ = 0;
}

Graveyard& graveyard() {
  static Graveyard& graveyard = *std::make_unique<Graveyard>().release();
  return graveyard;
}

}  // namespace trtserve::fake
