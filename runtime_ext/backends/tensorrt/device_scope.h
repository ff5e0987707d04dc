#pragma once

#include <c10/core/DeviceGuard.h>

namespace trtserve::tensorrt {

/// Makes a device the thread's current one during its lifetime, for destructors: TensorRT's objects must be destroyed
/// with their device current, on any thread. Does nothing if that fails, on a dead device.
class DeviceScope {
 public:
  explicit DeviceScope(at::Device device) noexcept {
    try {
      guard_.reset_device(device);
    } catch (...) {  // NOLINT(bugprone-empty-catch): a dead device's memory is freed with the process
    }
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  c10::OptionalDeviceGuard guard_;
};

}  // namespace trtserve::tensorrt
