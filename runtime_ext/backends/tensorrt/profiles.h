#pragma once

#include <ATen/core/Tensor.h>

#include "backends/tensorrt/tensors.h"

namespace trtserve::tensorrt {

/// Returns the index of the cheapest profile that accepts these inputs together: the one whose optimum is nearest to
/// their sizes, since its kernels were chosen for that; the first if several are equal. InvalidInput if none does, even
/// though each input alone may fit some profile.
int32_t choose_profile(const Tensors& tensors, c10::ArrayRef<at::Tensor> inputs);

}  // namespace trtserve::tensorrt
