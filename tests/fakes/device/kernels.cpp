// The operators that the device implements. All others run on the host, on copies.

#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <torch/library.h>

#include "copy.h"
#include "current.h"
#include "device_memory.h"
#include "raw_view.h"
#include "resize.h"

namespace trtserve::fake {

namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor empty(c10::IntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pin.value_or(false), "only CPU memory can be pinned");
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(sizes, &device_memory(), kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool> pin) {
  TORCH_CHECK(!pin.value_or(false), "only CPU memory can be pinned");
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(sizes, strides, &device_memory(), kKeys, c10::dtype_or_default(dtype));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& dst, bool non_blocking) {
  copy_tensor(self, dst, non_blocking);
  return dst;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& dst) {
  if (dst.sizes() != self.sizes()) dst.resize_(self.sizes());
  copy_tensor(self, dst, false);
  return dst;
}

at::Tensor as_strided(const at::Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                      std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, sizes, strides, offset);
}

at::Tensor view(const at::Tensor& self, c10::IntArrayRef sizes) { return at::native::view(self, sizes); }

at::Tensor reshape_alias(const at::Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  return at::native::_reshape_alias(self, sizes, strides);
}

const at::Tensor& resize(const at::Tensor& self, c10::IntArrayRef sizes, std::optional<at::MemoryFormat> format) {
  resize_tensor(self, sizes, std::nullopt);
  if (format) self.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  return self;
}

at::Tensor& set_storage_and_shape(at::Tensor& self, at::Storage source, int64_t offset, c10::IntArrayRef sizes,
                                  c10::IntArrayRef strides) {
  at::native::checkSetStorage(self, std::move(source), offset, sizes, strides);
  self.unsafeGetTensorImpl()->set_storage_offset(offset);
  resize_tensor(self, sizes, strides.data() == nullptr ? at::OptionalIntArrayRef() : strides);
  return self;
}

at::Tensor& set_storage(at::Tensor& self, at::Storage source) {
  const auto elements = static_cast<int64_t>(source.nbytes() / self.itemsize());
  return set_storage_and_shape(self, std::move(source), 0, elements, {});
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  if (self.is_same(source)) return self;
  return set_storage_and_shape(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

at::Tensor& set_empty(at::Tensor& self) {
  const auto empty_like = at::empty({0}, self.options());
  return set_tensor(self, empty_like);
}

void record_stream(at::Tensor& self, at::Stream stream) {
  device_memory().recordStream(self.storage().data_ptr(), stream);
}

at::Tensor& fill(at::Tensor& self, const at::Scalar& value) {
  check_usable(self.device().index());
  if (self.numel() == 0) return self;
  current_stream(self.device().index()).enqueue([to = RawView::to_write(self), value] {
    const c10::NoGradGuard no_grad;
    to.tensor().fill_(value);
  });
  return self;
}

at::Tensor& zero(at::Tensor& self) { return fill(self, 0); }

at::Scalar local_scalar_dense(const at::Tensor& self) { return self.cpu().item(); }

/// Copying the inputs to the host waits for the current stream, and so for everything that they depend on.
void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) { at::native::cpu_fallback(op, stack); }

}  // namespace

}  // namespace trtserve::fake

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  namespace fake = trtserve::fake;
  m.impl("empty.memory_format", fake::empty);
  m.impl("empty_strided", fake::empty_strided);
  m.impl("_copy_from", fake::copy_from);
  m.impl("_copy_from_and_resize", fake::copy_from_and_resize);
  m.impl("as_strided", fake::as_strided);
  m.impl("view", fake::view);
  m.impl("_reshape_alias", fake::reshape_alias);
  m.impl("resize_", fake::resize);
  m.impl("set_", fake::set_empty);
  m.impl("set_.source_Tensor", fake::set_tensor);
  m.impl("set_.source_Storage", fake::set_storage);
  m.impl("set_.source_Storage_storage_offset", fake::set_storage_and_shape);
  m.impl("record_stream", fake::record_stream);
  m.impl("fill_.Scalar", fake::fill);
  m.impl("zero_", fake::zero);
  m.impl("_local_scalar_dense", fake::local_scalar_dense);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&trtserve::fake::run_on_host>());
}
