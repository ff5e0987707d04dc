#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "backends/tensorrt/generation.h"

namespace trtserve::tensorrt {

/// Memory for one output whose shape is known only once it is computed: TensorRT requests the memory and reports the
/// shape during the enqueue. Not thread safe: belongs to one context.
class OutputAllocator final : public generation::OutputAllocator {
 public:
  OutputAllocator(at::Device device, c10::ScalarType dtype) : device_(device), dtype_(dtype) {}

  /// Allocates at least so many bytes from now on, whatever TensorRT asks for.
  void set_least_bytes(int64_t bytes) { least_bytes_ = bytes; }

  void* reallocateOutputAsync(char const* tensor_name, void* current, uint64_t size, uint64_t alignment,
                              cudaStream_t stream) override;
  void notifyShape(char const* tensor_name, nvinfer1::Dims const& dims) noexcept override;

  /// Returns the last execution's output, which then owns its memory; nothing if TensorRT reported no shape or got no
  /// memory. Resets the state for the next execution. Throws ExecutionFailed if TensorRT asked for too little memory.
  std::optional<at::Tensor> take();

 private:
  const at::Device device_;
  const c10::ScalarType dtype_;
  int64_t least_bytes_ = 0;
  at::Tensor memory_;  // bytes
  std::optional<nvinfer1::Dims> shape_;
};

}  // namespace trtserve::tensorrt
