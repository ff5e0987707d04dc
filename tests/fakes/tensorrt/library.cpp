#include <atomic>

#include "fake_trt.h"
#include "runtime.h"

// The functions that applications look up in the library by name.

namespace trtserve::fake::trt {

namespace {

std::atomic<bool> driver_error{false};
std::atomic<int> version{0};

int32_t library_version() {
  const int chosen = version;
  return chosen != 0 ? chosen : static_cast<int32_t>(NV_TENSORRT_VERSION);
}

/// Returns null, or a pointer that the application uses as a runtime.
void* create(nvinfer1::ILogger* logger, int32_t headers) {
  count_call("createInferRuntime_INTERNAL");
  if (logger == nullptr) {
    breached("createInferRuntime_INTERNAL: the logger is null");
    return nullptr;
  }
  if (driver_error) {
    logger->log(
        nvinfer1::ILogger::Severity::kERROR,
        "[runtime.cpp::createInferRuntime_INTERNAL::1] CUDA initialization failure with error: 35. Please check "
        "your CUDA installation.");
    return reinterpret_cast<void*>(uintptr_t{0x228});  // NOLINT(performance-no-int-to-ptr): the real library's value
  }
  if (major_of(headers) != major_of(library_version())) {
    breached("createInferRuntime_INTERNAL: called with headers of version ", headers);
    return nullptr;
  }
  auto runtime = std::make_shared<Runtime>(*logger);
  keep(runtime);
  return static_cast<nvinfer1::IRuntime*>(runtime.get());
}

}  // namespace

}  // namespace trtserve::fake::trt

namespace trt = trtserve::fake::trt;

void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept {
  return trt::create(static_cast<nvinfer1::ILogger*>(logger), version);
}

int32_t getInferLibVersion() noexcept { return trt::library_version(); }

void fake_trt_driver_error(int on) { trt::driver_error = on != 0; }
void fake_trt_version(int version) { trt::version = version; }
