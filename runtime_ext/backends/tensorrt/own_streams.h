#pragma once

#include <memory>

#include "backends/tensorrt/cuda_event.h"
#include "core/backend.h"

namespace trtserve::tensorrt {

/// Returns a stream of the current device that nothing else uses until it is destroyed. It does not come from torch's
/// pool, which hands out its 32 streams again and again. Thread safe; `api` must live as long as the process.
///
/// CUDA streams are kept and used again, never destroyed: torch's allocators record an event on every stream that used
/// a block when the block is freed, which may be long after its user has gone.
std::unique_ptr<DeviceStream> own_stream(std::shared_ptr<const CudaApi> api, at::Device device, Wait wait);

}  // namespace trtserve::tensorrt
