#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "stream.h"

namespace trtserve::fake {

/// The blocks of one kind of memory, released in stream order like those of torch's caching allocators: a freed block
/// is poisoned and released once every stream that may use it has passed the point of the free. Thread safe.
class Blocks {
 public:
  struct Freed {
    size_t size;
    int device;
  };

  /// Returns 512-byte aligned memory. `owner` is the stream that may use the block without use(): nullptr for none.
  void* allocate(size_t size, Stream* owner, int device);
  /// Notes that the stream uses the block too. Returns false if no block begins at the address.
  bool use(const void* address, Stream& stream);
  /// Frees the block without blocking. Returns nothing, and records a breach, if no block begins at the address.
  std::optional<Freed> free(void* address);
  /// The device of the block that contains the address.
  std::optional<int> device_of(const void* inside) const;
  /// The number of bytes from the address to the end of the block that contains it; 0 if no block does.
  size_t bytes_from(const void* inside) const;

 private:
  struct Block;

  /// The block that contains the address; null if there is none. The caller holds mutex_.
  const Block* find(const std::byte* inside) const;

  mutable std::mutex mutex_;
  std::map<const std::byte*, std::shared_ptr<Block>> live_;  // guarded by mutex_, which also guards the blocks' users
};

}  // namespace trtserve::fake
