#pragma once

#include <c10/core/DeviceGuard.h>

namespace trtserve::tensorrt {

/// Makes a device the thread's current one for as long as this lives, for destructors: what TensorRT made on a
/// device is to be destroyed on it, by whichever thread. Where that fails, on a dead device, it does nothing.
class DeviceScope {
 public:
  explicit DeviceScope(at::Device device) noexcept {
    try {
      guard_.reset_device(device);
    } catch (...) {  // NOLINT(bugprone-empty-catch): a dead device's memory is gone with the process
    }
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  c10::OptionalDeviceGuard guard_;
};

}  // namespace trtserve::tensorrt
