#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace trtserve::fake {

struct FreeMemory {
  void operator()(std::byte* memory) const;
};

/// Memory of the C library's, released with its owner.
using Memory = std::unique_ptr<std::byte, FreeMemory>;

/// Keeps memory that was freed, for a while and poisoned: who reads it late sees that it is not his any more,
/// and who writes to it is found out. Thread safe.
class Graveyard {
 public:
  static constexpr int kPoison = 0xDD;

  void bury(Memory memory, size_t size);
  /// A breach for every block that was written to since it was freed.
  void check();
  /// Checks, and lets all of it go.
  void clear();

 private:
  struct Grave {
    Memory memory;
    size_t size;
  };

  std::mutex mutex_;
  std::deque<Grave> graves_;  // guarded by mutex_; the oldest first
  size_t bytes_ = 0;          // guarded by mutex_
};

/// The one there is. Never destroyed: streams bury in it until the process ends.
Graveyard& graveyard();

}  // namespace trtserve::fake
