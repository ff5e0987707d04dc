#pragma once

#include <ATen/core/Tensor.h>

#include "backends/tensorrt/tensors.h"

namespace trtserve::tensorrt {

/// The index of the cheapest profile that takes these inputs together: the one whose optimum is nearest to their
/// sizes, since that is what its kernels were chosen for; among equals the first. InvalidInput where none does:
/// each input alone may fit another profile.
int32_t choose_profile(const Tensors& tensors, c10::ArrayRef<at::Tensor> inputs);

}  // namespace trtserve::tensorrt
