#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "backends/tensorrt/counters.h"
#include "backends/tensorrt/output_allocator.h"
#include "backends/tensorrt/tensors.h"

namespace trtserve::tensorrt {

/// One TensorRT execution context, bound to one profile. Not thread safe: belongs to one instance.
///
/// An execution is prepare(), provide_scratch(), enqueue(), in this order and on one stream; the next one may
/// begin once the work of this one is done.
class ProfileContext {
 public:
  /// Selects the profile and waits for that. Unavailable if the device has too little memory for the context,
  /// ExecutionFailed if TensorRT creates none.
  ProfileContext(nvinfer1::ICudaEngine& engine, const Tensors& tensors, int32_t profile, c10::Stream stream);

  /// Keeps what counts the memory that it took.
  void count(CountedBytes bytes) { memory_ = std::move(bytes); }

  /// Sets the inputs' shapes, and the values of those on the host. InvalidInput if TensorRT does not accept them,
  /// although each is within the profile.
  void prepare(c10::ArrayRef<at::Tensor> inputs);

  /// True if these have the shapes of the last prepare(), and its work has been enqueued: until then, the device has
  /// what the context keeps there for other shapes.
  bool has_shapes_of(c10::ArrayRef<at::Tensor> inputs) const { return enqueued_ && are_set(inputs); }

  /// The scratch bytes that the shapes of the last prepare() need.
  int64_t scratch_bytes() const { return scratch_bytes_; }
  void provide_scratch(void* memory, int64_t bytes);

  /// True if the inputs' shapes determine every output's shape, and all tensors are on the device.
  bool has_fixed_outputs() const;

  /// Allocates one execution's outputs on the current stream; an output is undefined if its shape is not known yet.
  std::vector<at::Tensor> new_outputs() const;

  /// Enqueues the work on the current stream, `handle`. Fills in undefined outputs. Inputs and outputs have 256-byte
  /// alignment, unless they are empty; `blank` is a device address for empty ones. After an Error the context's state
  /// is unknown: discard it.
  void enqueue(c10::ArrayRef<at::Tensor> inputs, std::vector<at::Tensor>& outputs, void* blank, cudaStream_t handle);

 private:
  bool are_set(c10::ArrayRef<at::Tensor> inputs) const;
  void set_shape(const TensorSpec& spec, const at::Tensor& input, at::Tensor& host_values);
  void infer_shapes(c10::ArrayRef<at::Tensor> inputs);
  /// Has the output's allocator provide enough memory for any values of inputs of these shapes.
  void reserve_output(size_t index, c10::ArrayRef<at::Tensor> inputs);
  void forget_host_outputs();
  void set_addresses(c10::ArrayRef<at::Tensor> inputs, const std::vector<at::Tensor>& outputs, void* blank);
  at::Tensor new_output(size_t index) const;

  const nvinfer1::ICudaEngine& engine_;
  const Tensors& tensors_;  // the engine's, which outlives its contexts
  const at::Device device_;
  // Output allocators come before the context that calls them: the context is destroyed first.
  std::vector<std::unique_ptr<OutputAllocator>> output_allocators_;
  const std::unique_ptr<nvinfer1::IExecutionContext> context_;

  std::vector<std::vector<int64_t>> shapes_;  // that are set in the context; empty: none, or only some
  bool enqueued_ = false;                     // with these shapes
  std::vector<at::Tensor> host_inputs_;       // aligned copies of inputs read on the host; otherwise undefined
  std::vector<bool> follows_data_;            // by output: its shape depends on the inputs' values
  std::vector<std::optional<std::vector<int64_t>>> output_shapes_;
  int64_t scratch_bytes_ = 0;
  CountedBytes memory_;
};

}  // namespace trtserve::tensorrt
