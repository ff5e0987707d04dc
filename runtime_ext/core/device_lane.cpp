#include "core/device_lane.h"

#include <cstring>

#include <ATen/Functions.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace trtserve {

namespace {

/// From torch's pool for pinned memory, which gives a block out again only after the copies from and to it.
at::Tensor pinned_like(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), at::TensorOptions().dtype(tensor.scalar_type()).pinned_memory(true));
}

}  // namespace

DeviceLane::DeviceLane(at::Device device) : device_(device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl guard(device.type());
  guard.setDevice(device);  // a new thread begins on device 0
  current_.emplace(guard.getStreamFromGlobalPool(device));
}

at::Tensor DeviceLane::to_device(const at::Tensor& host) {
  if (!current_) return host;
  at::Tensor staged = pinned_like(host);
  if (host.nbytes() != 0) std::memcpy(staged.mutable_data_ptr(), host.const_data_ptr(), host.nbytes());
  return staged.to(device_, /*non_blocking=*/true);
}

std::vector<at::Tensor> DeviceLane::to_host(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> host;
  host.reserve(tensors.size());
  for (const auto& tensor : tensors) {
    if (tensor.is_cpu()) {
      host.push_back(tensor.contiguous());
    } else {
      host.push_back(pinned_like(tensor));
      host.back().copy_(tensor, /*non_blocking=*/true);
    }
  }
  if (current_) current_->current_stream().synchronize();
  return host;
}

}  // namespace trtserve
