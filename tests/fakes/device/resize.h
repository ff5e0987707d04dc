#pragma once

#include <ATen/core/Tensor.h>

namespace trtserve::fake {

/// Gives the storage new memory of `bytes`, with what it held copied in the current stream's order.
void resize_storage(c10::StorageImpl& storage, size_t bytes);

/// Gives the tensor a shape (contiguous where there are no strides), and its storage more memory where it
/// needs it.
void resize_tensor(const at::Tensor& tensor, c10::IntArrayRef sizes, at::OptionalIntArrayRef strides);

}  // namespace trtserve::fake
