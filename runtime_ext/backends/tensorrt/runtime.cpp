#include "backends/tensorrt/runtime.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/error.h"

namespace trtserve::tensorrt {

c10::DeviceType usable_device_type() {
  const auto type = at::getAccelerator();
  if (!type) {
    fail(Kind::Unavailable,
         "TensorRT needs an NVIDIA GPU, and this torch was built without CUDA: install a CUDA build of torch");
  }
  if (c10::impl::VirtualGuardImpl(*type).deviceCount() == 0) {
    fail(Kind::Unavailable, "TensorRT needs an NVIDIA GPU, but torch sees none: check the GPU and its driver");
  }
  at::globalContext().lazyInitDevice(*type);
  return *type;
}

TensorRtRuntime::TensorRtRuntime(std::shared_ptr<const Library> library, c10::DeviceType type, const Options& options)
    : library_(std::move(library)),
      cuda_(std::make_shared<const CudaApi>(*library_)),
      wait_(options.wait),
      allocator_(type) {
  clear_errors();
  auto* created = library_->create_runtime(logger_);
  // Checked before the pointer: after an error it may not point to a runtime, and must then not be deleted.
  if (!errors().text.empty() || created == nullptr) fail_with_reason(Kind::Unavailable, "TensorRT cannot start");
  runtime_.reset(created);
  runtime_->setErrorRecorder(&recorder_);
  runtime_->setGpuAllocator(&allocator_);
  generation::allow_host_code(*runtime_, options.allow_host_code);
  load_plugins(options.plugins);
}

void TensorRtRuntime::load_plugins(const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    if (!generation::load_plugins(*runtime_, path.c_str())) {
      fail_with_reason(Kind::Unavailable, c10::str("the TensorRT plugin library ", path, " cannot be loaded"));
    }
  }
}

std::unique_ptr<nvinfer1::ICudaEngine> TensorRtRuntime::deserialize(const void* plan, size_t bytes) {
  const std::lock_guard lock(deserializing_);
  clear_errors();
  std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime_->deserializeCudaEngine(plan, bytes));
  if (!engine) {
    fail_with_reason(Kind::InvalidInput, c10::str("TensorRT ", library_->version(), " cannot load the plan"));
  }
  return engine;
}

}  // namespace trtserve::tensorrt
