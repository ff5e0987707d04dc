#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace trtserve::fake {

struct FreeMemory {
  void operator()(std::byte* memory) const;
};

/// Memory from the C library, freed with its owner.
using Memory = std::unique_ptr<std::byte, FreeMemory>;

/// Keeps freed memory for a while, poisoned: late reads see the poison, and late writes are detected. Thread safe.
class Graveyard {
 public:
  static constexpr int kPoison = 0xDD;

  void bury(Memory memory, size_t size);
  /// Records a breach for every block that was written to after it was freed.
  void check();
  /// Checks all blocks, then frees them.
  void clear();

 private:
  struct Grave {
    Memory memory;
    size_t size;
  };

  std::mutex mutex_;
  std::deque<Grave> graves_;  // guarded by mutex_; oldest first
  size_t bytes_ = 0;          // guarded by mutex_
};

/// The only instance. Never destroyed: streams add to it until the process ends.
Graveyard& graveyard();

}  // namespace trtserve::fake
