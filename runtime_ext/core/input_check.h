#pragma once

#include <vector>

#include "core/tensor_spec.h"

namespace trtserve {

/// A tensor that is to be an input.
struct InputShape {
  c10::ScalarType dtype;
  c10::IntArrayRef shape;
};

/// Throws InvalidInput, naming the tensor, unless an engine with these inputs takes the tensors, which come in their
/// order and are as many: each as check_input() says, and all together as check_profiles() says.
void check_inputs(const std::vector<TensorSpec>& specs, const std::vector<InputShape>& inputs);

}  // namespace trtserve
