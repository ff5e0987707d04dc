#pragma once

#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

namespace trtserve {

/// An instance's own way to its engine's device and back: a stream, and pinned memory at the host's end, so
/// that the copies of one instance overlap with the work of another. On the CPU it is no way at all.
///
/// Belongs to the thread that makes it, whose current device and stream it sets for as long as it lives.
class DeviceLane {
 public:
  explicit DeviceLane(at::Device device);

  /// The tensor on the device: staged in pinned memory before this returns, and copied in the stream's order.
  at::Tensor to_device(const at::Tensor& host);

  /// The tensors on the host, contiguous. Waits for the stream.
  std::vector<at::Tensor> to_host(const std::vector<at::Tensor>& tensors);

 private:
  const at::Device device_;
  std::optional<c10::StreamGuard> current_;  // nothing on the CPU
};

}  // namespace trtserve
