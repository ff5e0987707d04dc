#pragma once

#include <memory>
#include <set>
#include <vector>

#include <ATen/core/Tensor.h>
#include <openvino/core/model.hpp>

#include "core/tensor_spec.h"

namespace trtserve::openvino {

/// In which datatype OpenVINO's CPU plugin computes with a tensor of `dtype`, where that is another one: it has no
/// kernels for numbers of 64 bits, nor for unsigned ones beyond 8. `float_type` is its inference precision.
std::optional<c10::ScalarType> computed_as(c10::ScalarType dtype, const ov::element::Type& float_type);

/// Of each of the model's inputs, the floating-point type that all its values are cast to before anything else is done
/// with them (the widest, of several): they need not fit into the datatype of computed_as() then. Dynamic where there
/// is none.
std::vector<ov::element::Type> cast_first(const ov::Model& model);

/// Has the model end in FP32 where it would end in FP64, in which it computes nothing: OpenVINO makes the greatest
/// number of an infinite one when it widens it at the end. Returns which outputs those are. Inputs and constants that
/// are outputs stay as they are.
std::set<size_t> narrow_outputs(const std::shared_ptr<ov::Model>& model);

/// Whether there are values of the tensor's datatype that do not fit into the one in which it is computed.
bool may_not_fit(const TensorSpec& spec);

/// Throws InvalidInput, naming the tensor, the first value that does not fit and the range, where there is one.
/// `values` is contiguous, of the spec's datatype, and on the host. At memory speed.
void check_values(const TensorSpec& spec, const at::Tensor& values);

}  // namespace trtserve::openvino
