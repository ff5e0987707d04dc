#pragma once

#include <ATen/core/Tensor.h>

namespace trtserve::fake {

/// Copies between host and device, or devices, in the order of the device's current stream. Blocks until it
/// is done where the host is at one end, unless `non_blocking` with pinned memory there. Keeps device memory
/// alive no longer than its owners do; pinned memory until the copy is done, as torch's host allocator does.
/// Throws c10::Error when the device is broken.
void copy_tensor(const at::Tensor& source, const at::Tensor& target, bool non_blocking);

}  // namespace trtserve::fake
