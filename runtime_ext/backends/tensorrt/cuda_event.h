#pragma once

#include <memory>

#include "backends/tensorrt/cuda_api.h"

namespace trtserve::tensorrt {

/// How a thread waits for the device.
enum class Wait {
  Sleep,  ///< uses no CPU time, and wakes up some microseconds late
  Spin,   ///< uses a whole core
};

/// A point in a stream's work that threads can wait for. torch's events cannot: their waits always spin. Created on
/// the current device. Not thread safe except for wait() and passed().
class CudaEvent {
 public:
  CudaEvent(const CudaApi& api, Wait wait);

  /// Marks the end of the work that is now enqueued on the stream.
  void record(cudaStream_t stream);

  /// Blocks until the marked work is complete; returns at once if nothing was marked.
  void wait() const;

  /// True if wait() would return at once.
  bool passed() const;

 private:
  const CudaApi& api_;
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, decltype(&cudaEventDestroy)> event_;
};

}  // namespace trtserve::tensorrt
