#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include "core/tensor_spec.h"

namespace trtserve::torchscript {

/// The elements of a BYTES tensor in its order, as a module takes them: List[str], or List[Tensor] of UINT8 tensors on
/// the host. They are copies, so a module may write to them.
c10::IValue to_list(const at::Tensor& strings, const TensorSpec& spec);

/// The BYTES tensor that a module has returned as such a list. ExecutionFailed, naming the output, if the list does not
/// fit the described shape, or has tensors that are no bytes.
at::Tensor from_list(const c10::IValue& list, const TensorSpec& spec);

}  // namespace trtserve::torchscript
