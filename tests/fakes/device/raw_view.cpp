#include "raw_view.h"

#include <cstring>

#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>

namespace trtserve::fake {

RawView RawView::to_read(const at::Tensor& tensor) { return {const_cast<void*>(tensor.const_data_ptr()), tensor}; }

RawView RawView::to_write(const at::Tensor& tensor) { return {tensor.mutable_data_ptr(), tensor}; }

RawView::RawView(void* data, const at::Tensor& tensor)
    : data_(data),
      sizes_(tensor.sizes().vec()),
      strides_(tensor.strides().vec()),
      dtype_(tensor.scalar_type()),
      bytes_(tensor.nbytes()),
      contiguous_(tensor.is_contiguous()) {}

at::Tensor RawView::tensor() const {
  return at::from_blob(data_, sizes_, strides_, at::TensorOptions().dtype(dtype_).device(at::kCPU));
}

void RawView::copy_from(const RawView& source) const {
  if (dtype_ == source.dtype_ && sizes_ == source.sizes_ && contiguous_ && source.contiguous_) {
    if (bytes_ != 0) std::memmove(data_, source.data_, bytes_);
    return;
  }
  const c10::NoGradGuard no_grad;
  tensor().copy_(source.tensor());
}

}  // namespace trtserve::fake
