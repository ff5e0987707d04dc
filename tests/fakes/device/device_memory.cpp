#include "device_memory.h"

#include <cstring>
#include <memory>

#include <c10/util/Exception.h>

#include "current.h"
#include "graveyard.h"
#include "stream_table.h"

namespace trtserve::fake {

namespace {

using c10::CachingAllocator::StatType;

constexpr auto kAggregate = static_cast<size_t>(StatType::AGGREGATE);
constexpr size_t kRounding = 512;                  // like torch's caching allocator
constexpr int64_t kUnlimited = int64_t{16} << 30;  // the memory that a device without a limit reports

}  // namespace

c10::DataPtr DeviceMemory::allocate(size_t size) {
  const int device = current_device();
  check_device(device);
  const c10::Device of_torch(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(device));
  if (size == 0) return {nullptr, nullptr, &release, of_torch};
  if (current_is_capturing()) breach("While a stream was capturing, device memory was allocated.");
  const size_t whole = (size + kRounding - 1) / kRounding * kRounding;
  reserve(whole, device);
  void* address = blocks_.allocate(whole, &current_stream(device), device);
  return {address, address, &release, of_torch};
}

c10::DeleterFnPtr DeviceMemory::raw_deleter() const { return &release; }

void DeviceMemory::copy_data(void* dest, const void* src, size_t count) const {
  current_stream(current_device()).enqueue([=] { std::memcpy(dest, src, count); });
}

void DeviceMemory::emptyCache(c10::MempoolId_t) { graveyard().clear(); }

void DeviceMemory::recordStream(const c10::DataPtr& data, c10::Stream stream) {
  // Like torch, ignore memory of another allocator.
  if (data.get() == nullptr || data.get_deleter() != &release) return;
  blocks_.use(data.get_context(), stream_table().find(stream));
}

c10::CachingDeviceAllocator::DeviceStats DeviceMemory::getDeviceStats(c10::DeviceIndex device) {
  const std::lock_guard lock(mutex_);
  return stats_.at(static_cast<size_t>(device));
}

void DeviceMemory::resetAccumulatedStats(c10::DeviceIndex device) {
  const std::lock_guard lock(mutex_);
  stats_.at(static_cast<size_t>(device)).allocated_bytes[kAggregate].reset_accumulated();
}

void DeviceMemory::resetPeakStats(c10::DeviceIndex device) {
  const std::lock_guard lock(mutex_);
  stats_.at(static_cast<size_t>(device)).allocated_bytes[kAggregate].reset_peak();
}

std::pair<size_t, size_t> DeviceMemory::getMemoryInfo(c10::DeviceIndex device) {
  const std::lock_guard lock(mutex_);
  const int64_t total = limit_ < 0 ? kUnlimited : limit_;
  const int64_t used = stats_.at(static_cast<size_t>(device)).allocated_bytes[kAggregate].current;
  return {static_cast<size_t>(std::max<int64_t>(total - used, 0)), static_cast<size_t>(total)};
}

int64_t DeviceMemory::allocated() const {
  const std::lock_guard lock(mutex_);
  return total_.current;
}

int64_t DeviceMemory::peak() const {
  const std::lock_guard lock(mutex_);
  return total_.peak;
}

void DeviceMemory::reset_peak() {
  const std::lock_guard lock(mutex_);
  total_.reset_peak();
}

void DeviceMemory::set_limit(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
}

void DeviceMemory::release(void* address) { device_memory().give_back(address); }

void DeviceMemory::reserve(size_t size, int device) {
  const std::lock_guard lock(mutex_);
  auto& stats = stats_.at(static_cast<size_t>(device));
  const int64_t used = stats.allocated_bytes[kAggregate].current;
  if (limit_ >= 0 && used + static_cast<int64_t>(size) > limit_) {
    ++stats.num_ooms;
    TORCH_CHECK_WITH(OutOfMemoryError, false, "fake out of memory. Tried to allocate ", size, " bytes. Device ", device,
                     " has a total capacity of ", limit_, " bytes of which ", limit_ - used, " bytes is free.");
  }
  stats.allocated_bytes[kAggregate].increase(size);
  stats.reserved_bytes[kAggregate].increase(size);
  stats.allocation[kAggregate].increase(1);
  total_.increase(size);
}

void DeviceMemory::give_back(void* address) {
  const auto freed = blocks_.free(address);
  if (!freed) return;
  const std::lock_guard lock(mutex_);
  auto& stats = stats_.at(static_cast<size_t>(freed->device));
  stats.allocated_bytes[kAggregate].decrease(freed->size);
  stats.reserved_bytes[kAggregate].decrease(freed->size);
  stats.allocation[kAggregate].decrease(1);
  total_.decrease(freed->size);
}

DeviceMemory& device_memory() {
  static DeviceMemory& memory = *std::make_unique<DeviceMemory>().release();
  return memory;
}

}  // namespace trtserve::fake
