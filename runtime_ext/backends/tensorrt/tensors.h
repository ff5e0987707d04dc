#pragma once

#include <vector>

#include <NvInferRuntime.h>

#include "core/tensor_spec.h"

namespace trtserve::tensorrt {

/// The alignment of every tensor's address, in bytes: IExecutionContext::setTensorAddress.
inline constexpr int64_t kTensorAlignment = 256;

/// An engine's inputs and outputs, in the engine's own order, and how many profiles it has.
struct Tensors {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  int32_t profiles = 1;
  /// True if the context needs the values of some input, not only its shape: that is, an input on the host. The values
  /// must then be set for every execution.
  bool needs_values = false;
};

/// Unsupported, naming the tensor, for a datatype, a memory format or an aliasing that no request can carry.
Tensors read_tensors(const nvinfer1::ICudaEngine& engine);

std::vector<int64_t> to_vector(const nvinfer1::Dims& dims);

/// InvalidInput for a rank or size beyond TensorRT's limits.
nvinfer1::Dims to_dims(c10::IntArrayRef sizes);

}  // namespace trtserve::tensorrt
