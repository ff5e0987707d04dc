#pragma once

#include <ATen/core/Tensor.h>

namespace trtserve::fake {

/// Gives the storage new memory of `bytes`, and copies its contents in the current stream's order.
void resize_storage(c10::StorageImpl& storage, size_t bytes);

/// Gives the tensor a shape (contiguous if there are no strides), and grows its storage if necessary.
void resize_tensor(const at::Tensor& tensor, c10::IntArrayRef sizes, at::OptionalIntArrayRef strides);

}  // namespace trtserve::fake
