#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "stream.h"

namespace trtserve::fake {

/// The blocks of one kind of memory, given back in the streams' order as torch's caching allocators do it: a
/// block that was freed is poisoned and released once every stream that may use it has passed the point of the
/// free. Thread safe.
class Blocks {
 public:
  struct Freed {
    size_t size;
    int device;
  };

  /// 512-byte aligned. `owner` is the stream that may use the block without saying so: nullptr for none.
  void* allocate(size_t size, Stream* owner, int device);
  /// The stream uses the block, too. False where no block begins at the address.
  bool use(const void* address, Stream& stream);
  /// Returns at once. Nothing where no block begins at the address, which is a breach.
  std::optional<Freed> free(void* address);
  /// The device of the block that the address lies in.
  std::optional<int> device_of(const void* inside) const;

 private:
  struct Block;

  mutable std::mutex mutex_;
  std::map<const std::byte*, std::shared_ptr<Block>> live_;  // guarded by mutex_, as the blocks' users are
};

}  // namespace trtserve::fake
