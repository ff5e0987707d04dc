#include "resize.h"

#include <algorithm>
#include <cstring>

#include <ATen/EmptyTensor.h>
#include <c10/core/DeviceGuard.h>

#include "current.h"
#include "device_memory.h"

namespace trtserve::fake {

void resize_storage(c10::StorageImpl& storage, size_t bytes) {
  const c10::DeviceGuard guard(storage.device());
  auto memory = device_memory().allocate(bytes);
  const size_t kept = std::min(bytes, storage.nbytes());
  if (kept != 0) {
    current_stream(current_device()).enqueue([to = memory.get(), from = storage.data(), kept] {
      std::memcpy(to, from, kept);
    });
  }
  // The old memory is freed here, and so after the copy in its stream's order. If its stream is not the current one,
  // the caller must have recorded this use like any other.
  storage.set_data_ptr_noswap(std::move(memory));
  storage.set_nbytes(bytes);
}

void resize_tensor(const at::Tensor& tensor, c10::IntArrayRef sizes, at::OptionalIntArrayRef strides) {
  auto* impl = tensor.unsafeGetTensorImpl();
  if (strides) {
    impl->set_sizes_and_strides(sizes, *strides);
  } else {
    impl->set_sizes_contiguous(sizes);
  }
  if (tensor.numel() == 0) return;
  auto& storage = *tensor.storage().unsafeGetStorageImpl();
  const size_t needed =
      at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.itemsize(), tensor.storage_offset());
  if (needed > storage.nbytes()) resize_storage(storage, needed);
}

}  // namespace trtserve::fake
