#include "hooks.h"

#include "current.h"
#include "device_memory.h"
#include "machine.h"
#include "pinned_memory.h"
#include "resize.h"

namespace trtserve::fake {

bool Hooks::hasPrimaryContext(c10::DeviceIndex device) const { return device >= 0 && device < deviceCount(); }

c10::DeviceIndex Hooks::deviceCount() const { return static_cast<c10::DeviceIndex>(device_count()); }

void Hooks::setCurrentDevice(c10::DeviceIndex device) const {
  check_device(device);
  set_current_device(device);
}

c10::DeviceIndex Hooks::getCurrentDevice() const { return static_cast<c10::DeviceIndex>(current_device()); }

c10::DeviceIndex Hooks::exchangeDevice(c10::DeviceIndex device) const {
  const auto before = getCurrentDevice();
  setCurrentDevice(device);
  return before;
}

c10::DeviceIndex Hooks::maybeExchangeDevice(c10::DeviceIndex device) const { return exchangeDevice(device); }

at::Allocator* Hooks::getPinnedMemoryAllocator() const { return &pinned_memory(); }

bool Hooks::isPinnedPtr(const void* data) const { return pinned_memory().owns(data); }

at::Device Hooks::getDeviceFromPtr(void* data) const {
  const auto device = device_memory().device_of(data);
  TORCH_CHECK(device, "fake error: the pointer does not point to device memory");
  return {c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(*device)};
}

void Hooks::resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const {
  resize_storage(*storage.unsafeGetStorageImpl(), size);
}

}  // namespace trtserve::fake
