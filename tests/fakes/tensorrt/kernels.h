#pragma once

#include <vector>

#include "plan.h"

namespace trtserve::fake::trt {

/// True if there are kernels for tensors of this type.
bool computable(nvinfer1::DataType type);

/// Computes the output at `index` of the plan's tensors, which have these shapes and addresses. Returns false if the
/// size of a data-dependent output differs from its shape: its input has changed.
bool compute(const Plan& plan, size_t index, const std::vector<Shape>& shapes, const std::vector<void*>& addresses);

/// The number of nonzero elements.
int64_t count_nonzero(nvinfer1::DataType type, const void* data, int64_t count);

/// Writes a shape as the values of an output.
void write_shape(const Shape& shape, void* address);

/// The first element, as a double.
double first_element(nvinfer1::DataType type, const void* data);

}  // namespace trtserve::fake::trt
