#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "contract.h"
#include "current.h"
#include "device_block.h"
#include "plan.h"
#include "reporter.h"
#include "tally.h"

namespace trtserve::fake::trt {

/// The state of an IRuntime. Thread safe except as noted.
struct RuntimeState {
  explicit RuntimeState(nvinfer1::ILogger& logger) : reporter(logger) {}

  static const char* gone_ancestor() { return nullptr; }

  Reporter reporter;
  nvinfer1::IGpuAllocator* allocator = nullptr;  // set only while no other thread is in the runtime's methods
  bool host_code_allowed = false;                // likewise
  int32_t max_threads = 1;                       // likewise
  std::atomic<bool> destroyed{false};
  std::atomic<int> engines{0};      // existing engines
  std::atomic<bool> loaded{false};  // an engine has been deserialized
  Live live{"runtime"};
};

/// The state of an ICudaEngine. Thread safe except as noted.
struct EngineState {
  EngineState(std::shared_ptr<RuntimeState> the_runtime, std::shared_ptr<const Plan> the_plan,
              std::shared_ptr<DeviceBlock> the_weights)
      : runtime(std::move(the_runtime)),
        plan(std::move(the_plan)),
        weights(std::move(the_weights)),
        allocator(runtime->allocator),
        reporter(runtime->reporter) {}

  const char* gone_ancestor() const { return runtime->destroyed ? "runtime" : nullptr; }

  /// Records a breach that begins with `what` if the thread's current device is not the engine's.
  void check_device(const char* what) const {
    const auto now = current_device();
    if (now != device) breached(what, " while device ", now, " was current, but the engine is on ", device);
  }

  /// Gives a profile to a context, unless another context has it and may not share it.
  bool claim(int32_t profile) {
    const std::lock_guard lock(mutex);
    return kProfilesAreShared || claimed.insert(profile).second;
  }
  void give_back(int32_t profile) {
    const std::lock_guard lock(mutex);
    claimed.erase(profile);
  }

  const std::shared_ptr<RuntimeState> runtime;
  const std::shared_ptr<const Plan> plan;
  const std::shared_ptr<DeviceBlock> weights;
  nvinfer1::IGpuAllocator* const allocator;
  Reporter reporter;
  const int device = current_device();
  std::atomic<bool> destroyed{false};
  std::atomic<int> contexts{0};    // existing contexts
  std::atomic<int> inspectors{0};  // existing inspectors
  std::atomic<bool> used{false};   // a context has been created
  std::mutex mutex;
  std::set<int32_t> claimed;  // guarded by mutex; empty if profiles are shared
  Live live{"engine"};
};

}  // namespace trtserve::fake::trt
