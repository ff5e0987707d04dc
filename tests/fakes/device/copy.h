#pragma once

#include <ATen/core/Tensor.h>

namespace trtserve::fake {

/// Copies between host and device, or devices, in the order of the device's current stream. If the host is at one end,
/// blocks until it is done, unless `non_blocking` and the host memory is pinned. Does not keep device memory alive;
/// keeps pinned memory until the copy is done, like torch's host allocator. Throws c10::Error if the device is broken.
void copy_tensor(const at::Tensor& source, const at::Tensor& target, bool non_blocking);

}  // namespace trtserve::fake
