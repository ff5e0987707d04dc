#pragma once

#include <string>
#include <vector>

#include <ATen/core/function_schema.h>

#include "core/tensor_spec.h"

namespace trtserve::torchscript {

struct Description {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

/// The tensors that `document` describes for a forward with this schema:
///   {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": […]}
/// A BYTES tensor is a flat list in the module: List[str] where it is text, List[Tensor] (UINT8, [length] each) where
/// its elements are any bytes.
/// InvalidInput if it is missing (with one to fill in), if it is malformed, or if forward takes or returns something
/// else.
Description describe(const std::string& document, const c10::FunctionSchema& forward);

}  // namespace trtserve::torchscript
