#pragma once

#include <vector>

#include "plan.h"

namespace trtserve::fake::trt {

/// Whether there are kernels for tensors of this type.
bool computable(nvinfer1::DataType type);

/// Computes the output at `index` of the plan's tensors, which all lie at their addresses in their shapes. False
/// where a data-dependent output has another size than its shape says: its input has changed since.
bool compute(const Plan& plan, size_t index, const std::vector<Shape>& shapes, const std::vector<void*>& addresses);

/// How many elements are not zero.
int64_t count_nonzero(nvinfer1::DataType type, const void* data, int64_t count);

/// The first element, as a double.
double first_element(nvinfer1::DataType type, const void* data);

}  // namespace trtserve::fake::trt
