#include "core/memory.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>

#include "core/log.h"

namespace trtserve {

int64_t heap_in_use() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const auto heap = mallinfo2();
  return static_cast<int64_t>(heap.uordblks + heap.hblkhd);
#else
  return 0;
#endif
}

namespace {

/// Lets one load at a time be measured.
struct Turns {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t last = 0;                            // guarded by mutex; the turn that began last
  bool under_way = false;                       // guarded by mutex; whether that has not ended
  std::chrono::steady_clock::time_point began;  // guarded by mutex; when it did
};

Turns& turns() {
  static Turns turns;
  return turns;
}

uint64_t take_turn() {
  auto& all = turns();
  std::unique_lock lock(all.mutex);
  const auto now = [] { return std::chrono::steady_clock::now(); };
  while (all.under_way && now() < all.began + HeapGrowth::kPatience) {
    all.changed.wait_until(lock, all.began + HeapGrowth::kPatience);
  }
  all.under_way = true;
  all.began = now();
  return ++all.last;
}

/// Whether this thread has a turn: then a load within its load, of an engine that a module carries, needs none.
thread_local bool has_turn = false;

/// What was released in all, since the process began.
std::atomic<int64_t>& all_released() {
  static std::atomic<int64_t> bytes{0};
  return bytes;
}

}  // namespace

HeapGrowth::HeapGrowth(bool alone)
    : turn_(alone && !has_turn ? take_turn() : 0),
      before_(heap_in_use() + all_released().load(std::memory_order_relaxed)) {
  if (turn_ != 0) has_turn = true;
}

HeapGrowth::~HeapGrowth() {
  if (turn_ == 0) return;
  has_turn = false;
  auto& all = turns();
  const std::lock_guard lock(all.mutex);
  if (turn_ != all.last) return;  // another has not waited for it any longer
  all.under_way = false;
  all.changed.notify_one();
}

int64_t HeapGrowth::bytes() const {
  return std::max<int64_t>(0, heap_in_use() + all_released().load(std::memory_order_relaxed) - before_);
}

void HeapGrowth::released(int64_t bytes) { all_released().fetch_add(bytes, std::memory_order_relaxed); }

DeviceMemory device_memory(at::Device device) {
  if (device.is_cpu()) return {};
  try {
    const c10::DeviceGuard on(device);
    const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
    return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
  } catch (const std::exception&) {
    return {};
  }
}

int64_t outside_allocator(at::Device device) {
  const auto memory = device_memory(device);
  if (memory.total == 0) return 0;
  try {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return std::max<int64_t>(0, memory.total - memory.free - stats.reserved_bytes.at(kAll).current);
  } catch (const std::exception&) {
    return 0;
  }
}

void release_unused(at::Device device) noexcept {
  try {
    if (device.is_cpu()) {
      malloc_trim(0);
    } else {
      const c10::DeviceGuard on(device);
      c10::getDeviceAllocator(device.type())->emptyCache();
      at::getHostAllocator(device.type())->empty_cache();
    }
  } catch (const std::exception& error) {
    log(Severity::Warning, "memory",
        c10::str("memory of ", device.str(), " that nothing uses could not be given back: ", error.what()));
  }
}

void Gone::tell() {
  const std::lock_guard lock(mutex_);
  gone_ = true;
  changed_.notify_all();
}

bool Gone::wait(Clock& clock, TimePoint deadline) {
  std::unique_lock lock(mutex_);
  while (!gone_ && clock.glance() < deadline) clock.wait_until(lock, changed_, deadline);
  return gone_;
}

}  // namespace trtserve
