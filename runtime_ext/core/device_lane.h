#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

#include "core/backend.h"
#include "core/request_queue.h"

namespace trtserve {

/// An instance's path to its engine's device and back: a stream of its own and pinned host memory, so that its copies
/// overlap with the work of other instances. On the CPU it uses ordinary memory.
///
/// Belongs to the thread that creates it, and sets that thread's current device and stream from enter() to its end.
class DeviceLane {
 public:
  /// `stream` is one of the device; null on the CPU. `most_staged`, where it is given, becomes the most bytes of pinned
  /// memory that a batch has used, before the batch ends. Both outlive this.
  DeviceLane(at::Device device, DeviceStream* stream, std::atomic<int64_t>* most_staged = nullptr)
      : device_(device), stream_(stream), most_staged_(most_staged) {}

  at::Device device() const { return device_; }

  /// Call it at the beginning of each batch. Propagates the device's exceptions.
  void enter();

  /// Joins input `index` of the requests along `batch_dim` into one tensor. Stages it on the host in one copy and,
  /// unless `stays_on_host`, copies it to the device in stream order. For a single request it may be a view of the
  /// data.
  at::Tensor gather(const Part& part, size_t index, size_t batch_dim, bool stays_on_host);

  /// Returns the tensors on the host, contiguous. Waits for the stream.
  std::vector<at::Tensor> to_host(const std::vector<at::Tensor>& tensors);

 private:
  void count_staged(const at::Tensor& pinned);

  const at::Device device_;
  DeviceStream* const stream_;               // null on the CPU
  std::atomic<int64_t>* const most_staged_;  // may be null
  int64_t staged_ = 0;                       // bytes of pinned memory that this batch has used
  std::optional<c10::StreamGuard> current_;  // empty on the CPU, and until enter()
};

}  // namespace trtserve
