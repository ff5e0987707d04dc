#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/device_lane.h"

namespace trtserve {

/// Runs an engine's wrapper on its inputs and returns its outputs. Called by several threads concurrently.
using Forward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

/// Takes batches and runs them, for the instances.
class BatchHandler {
 public:
  virtual ~BatchHandler() = default;
  /// Waits for the next batch, and runs it: each of its requests ends there, exactly once. False if no more will come.
  virtual bool handle_next(DeviceLane& lane) = 0;
  /// An instance's last call.
  virtual void instance_ended() noexcept = 0;
};

/// One worker thread, with a lane to the device, that handles batches until there are no more. It shares ownership of
/// its handler, so that it can be left behind. Not thread safe.
class Instance {
 public:
  /// `stream` is one of the device; null on the CPU. Propagates the lane's exceptions.
  Instance(at::Device device, std::unique_ptr<DeviceStream> stream, std::shared_ptr<BatchHandler> handler);
  /// Joins the thread if it has notified its handler of its end, otherwise leaves it behind.
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

 private:
  std::shared_ptr<std::atomic<bool>> ended_ = std::make_shared<std::atomic<bool>>(false);
  std::thread thread_;
};

}  // namespace trtserve
