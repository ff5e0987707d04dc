#pragma once

#include <optional>

#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace trtserve::torchscript {

/// The thread's current stream on its current accelerator; nothing where torch has none.
inline std::optional<c10::Stream> current_stream() {
  const auto type = at::getAccelerator();
  if (!type) return std::nullopt;
  const c10::impl::VirtualGuardImpl accelerator(*type);
  if (accelerator.deviceCount() == 0) return std::nullopt;
  return accelerator.getStream(accelerator.getDevice());
}

}  // namespace trtserve::torchscript
