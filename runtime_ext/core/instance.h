#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "core/device_lane.h"

namespace trtserve {

/// Runs an engine's wrapper: its inputs in, its outputs out. Called by several threads at once.
using Forward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

/// What an instance does with a batch that it took: each of its requests ends there, once.
class BatchHandler {
 public:
  virtual ~BatchHandler() = default;
  virtual void handle(Batch batch, DeviceLane& lane) = 0;
};

/// One worker thread, with a lane to the device, that takes batches from a queue until it is closed and
/// empty. The destructor waits for that, so close the queue first.
class Instance {
 public:
  /// Throws what the lane throws.
  Instance(at::Device device, RequestQueue& queue, BatchHandler& handler);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

 private:
  std::thread thread_;
};

}  // namespace trtserve
