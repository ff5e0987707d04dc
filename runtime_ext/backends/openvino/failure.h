#pragma once

#include <exception>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/error.h"
#include "core/tensor_spec.h"

namespace trtserve::openvino {

/// OpenVINO's message about a failed node, without source locations, checks and types.
std::string core_of(const std::exception& error);

/// "'ids' of shape [1, 513] and 'mask' of shape [1, 512]".
std::string listed(const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs);

/// InvalidInput: the model cannot take inputs of these shapes.
Error refused_shapes(const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs, const std::string& reason);

/// Converts an execution's failure for the client: a guard's refusal unchanged; InvalidInput if the model cannot take
/// these inputs, Unavailable if memory ran out, Cancelled if it was interrupted; otherwise ExecutionFailed.
Error failure(const std::exception& error, const std::vector<TensorSpec>& specs, c10::ArrayRef<at::Tensor> inputs);

}  // namespace trtserve::openvino
