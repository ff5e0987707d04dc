#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/tensorrt/allocator.h"
#include "backends/tensorrt/cuda_graph.h"
#include "backends/tensorrt/error_recorder.h"
#include "backends/tensorrt/library.h"
#include "backends/tensorrt/logger.h"

namespace trtserve::tensorrt {

/// TensorRT's runtime, one for the process, with what it calls back. Thread safe.
class TensorRtRuntime {
 public:
  struct Options {
    std::vector<std::string> plugins;  ///< libraries of TensorRT plugins to load
    bool allow_host_code = false;      ///< whether plans may bring machine code that runs on the host
  };

  /// Unavailable where torch sees no device, where TensorRT cannot start on it, or a plugin library cannot be
  /// loaded. The device is looked for first: without one TensorRT does not merely refuse.
  TensorRtRuntime(std::shared_ptr<const Library> library, const Options& options);
  TensorRtRuntime(const TensorRtRuntime&) = delete;
  TensorRtRuntime& operator=(const TensorRtRuntime&) = delete;

  /// An engine on the current device, which must not outlive this. InvalidInput, with TensorRT's words, for a plan
  /// that it cannot take; Unavailable where memory was the reason.
  std::unique_ptr<nvinfer1::ICudaEngine> deserialize(const void* plan, size_t bytes);

  c10::DeviceType device_type() const { return device_type_; }
  const Library& library() const { return *library_; }
  const CudaGraphApi& graph_api() const { return graph_api_; }

 private:
  void load_plugins(const std::vector<std::string>& paths);

  const std::shared_ptr<const Library> library_;
  const c10::DeviceType device_type_;
  const CudaGraphApi graph_api_;
  // What the runtime and all that it makes call back, in the order of life.
  Logger logger_;
  ErrorRecorder recorder_;
  Allocator allocator_;
  std::mutex deserializing_;  // one plan at a time: each wants the memory and the threads for itself
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
};

}  // namespace trtserve::tensorrt
