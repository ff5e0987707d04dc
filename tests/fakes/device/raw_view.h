#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace trtserve::fake {

/// A non-owning view of a tensor's elements, for work on a stream: a kernel on a real device keeps no memory alive
/// either.
class RawView {
 public:
  static RawView to_read(const at::Tensor& tensor);
  static RawView to_write(const at::Tensor& tensor);

  /// A CPU tensor over the same memory, even if that is device memory.
  at::Tensor tensor() const;
  /// Copies element by element, converting the datatype and repeating dimensions like copy_().
  void copy_from(const RawView& source) const;

 private:
  RawView(void* data, const at::Tensor& tensor);

  void* data_;
  std::vector<int64_t> sizes_;
  std::vector<int64_t> strides_;
  at::ScalarType dtype_;
  size_t bytes_;
  bool contiguous_;
};

}  // namespace trtserve::fake
