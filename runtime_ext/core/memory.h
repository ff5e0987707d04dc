#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include <c10/core/Device.h>

#include "core/clock.h"

namespace trtserve {

/// Bytes by kind: "weights", "contexts", "graphs", "staging", "host", "other".
using MemoryByKind = std::map<std::string, int64_t>;
/// Memory by device: "cpu", "cuda:0".
using Memory = std::map<std::string, MemoryByKind>;

/// Bytes that the C library's heap has given out, over all threads; 0 where the library does not tell. Counts memory
/// that was never touched too. Two readings differ by what the whole process allocated between them, so the difference
/// around a load is an estimate of what the load took.
int64_t heap_in_use();

/// What the heap grows by from its construction on: an estimate of what a load takes. It belongs to one thread.
class HeapGrowth {
 public:
  /// `alone`: blocks until no other load that is alone is measured, because each would count what the other allocates.
  /// It waits for a load that takes long only until that has lasted kPatience.
  explicit HeapGrowth(bool alone);
  ~HeapGrowth();
  HeapGrowth(const HeapGrowth&) = delete;
  HeapGrowth& operator=(const HeapGrowth&) = delete;

  /// So far, at least 0. Without what released() was told meanwhile.
  int64_t bytes() const;

  /// Call it when something is gone that had taken this.
  static void released(int64_t bytes);

  static constexpr std::chrono::seconds kPatience{5};

 private:
  const uint64_t turn_;  // 0: it is not alone
  const int64_t before_;
};

struct DeviceMemory {
  int64_t free = 0;   ///< bytes
  int64_t total = 0;  ///< bytes
};

/// The memory of an accelerator; of the CPU, and of a device that does not tell, zeros. Opens the device.
DeviceMemory device_memory(at::Device device);

/// Bytes of an accelerator in use outside torch's allocator: by its libraries, their code, and other processes.
int64_t outside_allocator(at::Device device);

/// Gives memory that nothing uses back to the system: torch's caches of an accelerator's memory and of pinned memory,
/// or the C library's heap.
void release_unused(at::Device device) noexcept;

/// Whether an object is gone, for those that wait for its memory. Thread safe.
class Gone {
 public:
  void tell();
  /// Blocks until tell(), or until the deadline; false if that comes first.
  bool wait(Clock& clock, TimePoint deadline);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool gone_ = false;  // guarded by mutex_
};

}  // namespace trtserve
