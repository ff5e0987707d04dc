#pragma once

#include <vector>

#include <NvInferRuntime.h>

#include "core/tensor_spec.h"

namespace trtserve::tensorrt {

/// Bytes that the address of every tensor is a multiple of: IExecutionContext::setTensorAddress.
inline constexpr int64_t kTensorAlignment = 256;

/// An engine's inputs and outputs, in the engine's own order, and how many profiles it has.
struct Tensors {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  int32_t profiles = 1;
  /// Whether the context is told the values of an input, not only its shape: those that lie on the host, whether
  /// they decide an output's shape or not. Then it must be told anew for every execution.
  bool told_values = false;
};

/// Unsupported, naming the tensor, for a datatype, a memory format or an aliasing that no request can carry.
Tensors read_tensors(const nvinfer1::ICudaEngine& engine);

std::vector<int64_t> to_vector(const nvinfer1::Dims& dims);

/// InvalidInput for a rank beyond TensorRT's.
nvinfer1::Dims to_dims(c10::IntArrayRef sizes);

}  // namespace trtserve::tensorrt
