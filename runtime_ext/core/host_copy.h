#pragma once

#include <cstddef>
#include <cstdint>

namespace trtserve {

/// Where bytes come from: memory, or an open file from a position on. Whoever gives it keeps both valid.
struct HostBytes {
  const void* memory = nullptr;
  int file = -1;  ///< a descriptor; -1: in memory
  int64_t position = 0;

  bool in_memory() const { return file < 0; }
};

/// Copies `bytes` of `from` to `to`. A few threads that the whole process shares help with large blocks, because one
/// core alone cannot use the memory's bandwidth. Conflict if a file cannot be read or ends before. Thread safe.
void copy_on_host(void* to, const HostBytes& from, size_t bytes);

}  // namespace trtserve
