#include "pattern.h"

#include <atomic>

namespace trtserve::fake::trt {

namespace {

constexpr int64_t kWord = sizeof(uint64_t);

/// Calls `word` on each whole word of the memory and `byte` on each byte after them, until one returns false.
template <class OnWord, class OnByte>
bool walk(void* memory, int64_t bytes, OnWord word, OnByte byte) {
  auto* const words = static_cast<uint64_t*>(memory);
  auto* const rest = static_cast<uint8_t*>(memory) + bytes / kWord * kWord;
  for (int64_t i = 0; i < bytes / kWord; ++i) {
    if (!word(std::atomic_ref(words[i]))) return false;
  }
  for (int64_t i = 0; i < bytes % kWord; ++i) {
    if (!byte(std::atomic_ref(rest[i]))) return false;
  }
  return true;
}

}  // namespace

void fill(void* memory, int64_t bytes, uint64_t pattern) {
  const auto store = [pattern](auto at) {
    at.store(static_cast<typename decltype(at)::value_type>(pattern), std::memory_order_relaxed);
    return true;
  };
  walk(memory, bytes, store, store);
}

bool filled(const void* memory, int64_t bytes, uint64_t pattern) {
  const auto holds = [pattern](auto at) {
    return at.load(std::memory_order_relaxed) == static_cast<typename decltype(at)::value_type>(pattern);
  };
  return walk(const_cast<void*>(memory), bytes, holds, holds);  // only read
}

}  // namespace trtserve::fake::trt
