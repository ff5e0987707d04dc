#pragma once

#include <exception>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/error.h"
#include "core/tensor_spec.h"

namespace trtserve::openvino {

/// What OpenVINO says of a failed node, without its places in OpenVINO's sources, its checks and its types.
std::string core_of(const std::exception& error);

/// "'ids' of shape [1, 513] and 'mask' of shape [1, 512]".
std::string listed(const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs);

/// InvalidInput: the model cannot take inputs of these shapes.
Error refused_shapes(const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs, const std::string& reason);

/// Why an execution failed, for who asked for it: a guard's refusal as it is; InvalidInput where the model cannot take
/// these inputs, Unavailable where there is no memory, Cancelled where it was interrupted; else ExecutionFailed.
Error failure(const std::exception& error, const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs);

}  // namespace trtserve::openvino
