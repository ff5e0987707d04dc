#pragma once

#include <memory>
#include <set>
#include <vector>

#include <ATen/core/Tensor.h>
#include <openvino/core/model.hpp>

#include "core/tensor_spec.h"

namespace trtserve::openvino {

/// The datatype in which OpenVINO's CPU plugin computes with a tensor of `dtype`, if it differs: the plugin has no
/// kernels for 64-bit numbers, nor for unsigned ones beyond 8 bits. `float_type` is its inference precision.
std::optional<c10::ScalarType> computed_as(c10::ScalarType dtype, const ov::element::Type& float_type);

/// For each model input, the floating-point type (the widest of several) to which its values are cast before any other
/// use: they then need not fit into the datatype of computed_as(). Dynamic if there is none.
std::vector<ov::element::Type> cast_first(const ov::Model& model);

/// Changes FP64 outputs to FP32, in which the plugin computes anyway: OpenVINO turns infinity into the greatest finite
/// number when it widens an output. Returns the indices of these outputs. Inputs and constants that are outputs keep
/// their type.
std::set<size_t> narrow_outputs(const std::shared_ptr<ov::Model>& model);

/// True if some values of the tensor's datatype do not fit into the one in which it is computed.
bool may_not_fit(const TensorSpec& spec);

/// Throws InvalidInput, naming the tensor, the first value that does not fit and the range, if there is such a value.
/// `values` is contiguous, of the spec's datatype, and on the host. Runs at memory speed.
void check_values(const TensorSpec& spec, const at::Tensor& values);

}  // namespace trtserve::openvino
