#pragma once

#include "nvinfer1/interface.h"
#include "nvinfer1/library_version.h"
#include "nvinfer1/logger.h"
#include "nvinfer1/runtime.h"

extern "C" {
/// Returns the runtime, an nvinfer1::IRuntime*; `version` is the caller's NV_TENSORRT_VERSION.
TENSORRTAPI void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept;
}

namespace nvinfer1 {

namespace {

inline IRuntime* createInferRuntime(ILogger& logger) noexcept {
  return static_cast<IRuntime*>(createInferRuntime_INTERNAL(&logger, NV_TENSORRT_VERSION));
}

}  // namespace

}  // namespace nvinfer1
