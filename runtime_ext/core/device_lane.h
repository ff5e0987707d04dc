#pragma once

#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

#include "core/request_queue.h"

namespace trtserve {

/// An instance's own way to its engine's device and back: a stream, and pinned memory at the host's end, so
/// that the copies of one instance overlap with the work of another. On the CPU it is ordinary memory.
///
/// Belongs to the thread that makes it, whose current device and stream it sets for as long as it lives.
class DeviceLane {
 public:
  explicit DeviceLane(at::Device device);

  /// Input `index` of requests as one tensor, joined along `batch_dim`: staged on the host in one copy and, unless it
  /// is to stay there, copied on to the device in the stream's order. Of a single request it may be a view on its data.
  at::Tensor gather(const Part& part, size_t index, size_t batch_dim, bool stays_on_host);

  /// The tensors on the host, contiguous. Waits for the stream.
  std::vector<at::Tensor> to_host(const std::vector<at::Tensor>& tensors);

 private:
  const at::Device device_;
  std::optional<c10::StreamGuard> current_;  // nothing on the CPU
};

}  // namespace trtserve
