#include "core/memory.h"

#include <malloc.h>

#include <algorithm>
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
