#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/tensorrt/allocator.h"
#include "backends/tensorrt/cuda_event.h"
#include "backends/tensorrt/error_recorder.h"
#include "backends/tensorrt/library.h"
#include "backends/tensorrt/logger.h"

namespace trtserve::tensorrt {

/// The type of torch's devices that TensorRT can run on. Unavailable if torch sees none.
c10::DeviceType usable_device_type();

/// TensorRT's runtime for one device, with the objects that it calls back. Thread safe.
class TensorRtRuntime {
 public:
  struct Options {
    std::vector<std::string> plugins;  ///< libraries of TensorRT plugins to load
    bool allow_host_code = false;      ///< whether plans may contain machine code for the host
    Wait wait = Wait::Sleep;           ///< how threads wait for the device
  };

  /// Call it on the device, of the type that usable_device_type() found: without a device, TensorRT does worse than
  /// fail. Unavailable if TensorRT cannot start there, or a plugin library cannot be loaded.
  TensorRtRuntime(std::shared_ptr<const Library> library, c10::DeviceType type, const Options& options);
  TensorRtRuntime(const TensorRtRuntime&) = delete;
  TensorRtRuntime& operator=(const TensorRtRuntime&) = delete;

  /// Creates an engine on the device, which is current; it must not outlive this. InvalidInput, with TensorRT's words,
  /// for a plan that it cannot load; Unavailable if memory was the reason.
  std::unique_ptr<nvinfer1::ICudaEngine> deserialize(const void* plan, size_t bytes);

  const Library& library() const { return *library_; }
  const CudaApi& cuda() const { return *cuda_; }
  std::shared_ptr<const CudaApi> shared_cuda() const { return cuda_; }
  Wait wait() const { return wait_; }

 private:
  void load_plugins(const std::vector<std::string>& paths);

  const std::shared_ptr<const Library> library_;
  const std::shared_ptr<const CudaApi> cuda_;
  const Wait wait_;
  // Callbacks of the runtime and its objects. The order matters: they outlive the runtime.
  Logger logger_;
  ErrorRecorder recorder_;
  Allocator allocator_;
  std::mutex deserializing_;  // held for one plan at a time: each needs the device's memory
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
};

}  // namespace trtserve::tensorrt
