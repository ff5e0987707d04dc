#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/device_lane.h"

namespace trtserve {

/// Runs an engine's wrapper: its inputs in, its outputs out. Called by several threads at once.
using Forward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

/// What instances do: take batches and run them.
class BatchHandler {
 public:
  virtual ~BatchHandler() = default;
  /// Waits for the next batch, and runs it: each of its requests ends there, once. False once there are no more.
  virtual bool handle_next(DeviceLane& lane) = 0;
  /// An instance does not call again.
  virtual void instance_ended() noexcept = 0;
};

/// One worker thread, with a lane to the device, that handles batches until there are no more. It keeps its handler, so
/// that it can be left behind. Not thread safe.
class Instance {
 public:
  /// Throws what the lane throws.
  Instance(at::Device device, std::shared_ptr<BatchHandler> handler);
  /// Waits for the thread if it has told its handler that it ended, and else leaves it behind.
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

 private:
  std::shared_ptr<std::atomic<bool>> ended_ = std::make_shared<std::atomic<bool>>(false);
  std::thread thread_;
};

}  // namespace trtserve
