#include "backends/tensorrt/output_allocator.h"

#include <algorithm>
#include <utility>

#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>
#include <c10/core/TensorImpl.h>

#include "backends/tensorrt/logger.h"
#include "backends/tensorrt/tensors.h"
#include "core/device_health.h"

namespace trtserve::tensorrt {

void* OutputAllocator::reallocateOutputAsync(char const* tensor_name, void* /*current*/, uint64_t size,
                                             uint64_t /*alignment*/, cudaStream_t /*stream*/) {
  // Called within enqueueV3, where its stream is the thread's current one, so the memory belongs to that stream; torch
  // aligns it to 512 bytes. No exception may reach TensorRT.
  try {
    const auto bytes = std::max(static_cast<int64_t>(size), least_bytes_);
    memory_ = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(device_));
    return memory_.mutable_data_ptr();
  } catch (const c10::OutOfMemoryError& error) {
    mark_out_of_memory();
    add_error(c10::str("no memory for output '", tensor_name, "': ", reason_of(error)));
  } catch (const std::exception& error) {
    add_error(reason_of(error));
  }
  return nullptr;
}

void OutputAllocator::notifyShape(char const* /*tensor_name*/, nvinfer1::Dims const& dims) noexcept { shape_ = dims; }

std::optional<at::Tensor> OutputAllocator::take() {
  const auto shape = std::exchange(shape_, std::nullopt);
  const auto memory = std::exchange(memory_, at::Tensor());
  if (!shape) return std::nullopt;
  const auto sizes = to_vector(*shape);
  if (c10::multiply_integers(sizes) == 0) {
    return at::empty(sizes, at::TensorOptions().dtype(dtype_).device(device_));
  }
  if (!memory.defined()) return std::nullopt;
  const auto needed = c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(dtype_));
  if (needed > memory.numel()) {
    fail(Kind::ExecutionFailed, "TensorRT asked for ", memory.numel(), " bytes for an output of ", needed, " bytes");
  }
  // Reuse the storage under another dtype, so that torch still tracks its owner.
  auto output = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(memory.storage()), memory.key_set(),
                                                         c10::scalarTypeToTypeMeta(dtype_));
  output.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return output;
}

}  // namespace trtserve::tensorrt
