#pragma once

#include <cuda_runtime_api.h>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace trtserve::fake::trt {

/// Keeps an error as the thread's last one, as every function of the CUDA runtime does; returns the status.
cudaError_t answer(cudaError_t status);

/// Keeps why the device is broken, for cudaGetErrorString(); returns cudaErrorUnknown.
cudaError_t broken(const char* reason);

/// Returns the thread's last error, and forgets it.
cudaError_t take_last_error();

}  // namespace trtserve::fake::trt
