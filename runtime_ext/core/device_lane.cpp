#include "core/device_lane.h"

#include <ATen/Functions.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/byte_strings.h"
#include "core/host_copy.h"

namespace trtserve {

namespace {

/// The alignment that the widest current vector loads require.
constexpr uintptr_t kAlignment = 64;

/// Pinned memory for asynchronous device copies; torch's pool reuses a block only after its copies. Ordinary memory on
/// the CPU.
at::Tensor new_host_tensor(c10::IntArrayRef shape, c10::ScalarType dtype, bool pinned) {
  return at::empty(shape, at::TensorOptions().dtype(dtype).pinned_memory(pinned));
}

/// Inputs are never written: the const_cast only satisfies from_blob.
at::Tensor view(const HostBytes& data, const Signature::Input& input) {
  const auto options = at::TensorOptions().dtype(input.dtype);
  if (input.bytes == 0) return at::empty(input.shape, options);
  return at::from_blob(const_cast<void*>(data.memory), input.shape, options);
}

bool can_view(const HostBytes& data, uintptr_t alignment) {
  return data.in_memory() && reinterpret_cast<uintptr_t>(data.memory) % alignment == 0;
}

/// Concatenates the requests' data: this is the batch if its dimension is the first.
at::Tensor append(const Part& part, size_t index, bool pinned) {
  const auto& first = part.requests[0].signature->inputs[index];
  auto shape = first.shape;
  if (part.requests.size() > 1) shape[0] = part.items;
  at::Tensor staged = new_host_tensor(shape, first.dtype, pinned);
  auto* to = static_cast<std::byte*>(staged.mutable_data_ptr());
  for (const auto& request : part.requests) {
    const size_t bytes = request.signature->inputs[index].bytes;
    copy_on_host(to, request.data[index], bytes);
    to += bytes;
  }
  return staged;
}

at::Tensor join(const Part& part, size_t index, size_t batch_dim, bool pinned) {
  std::vector<at::Tensor> pieces;
  auto shape = part.requests[0].signature->inputs[index].shape;
  shape[batch_dim] = part.items;
  for (const auto& request : part.requests) {
    at::Tensor piece = at::empty({0});
    const auto& input = request.signature->inputs[index];
    // A view must be aligned for its datatype: unaligned data is copied first.
    if (input.bytes == 0 || can_view(request.data[index], c10::elementSize(input.dtype))) {
      piece = view(request.data[index], input);
    } else {
      piece = at::empty(input.shape, at::TensorOptions().dtype(input.dtype));
      copy_on_host(piece.mutable_data_ptr(), request.data[index], input.bytes);
    }
    pieces.push_back(std::move(piece));
  }
  at::Tensor staged = new_host_tensor(shape, part.requests[0].signature->inputs[index].dtype, pinned);
  return at::cat_out(staged, pieces, static_cast<int64_t>(batch_dim));
}

/// Views of the requests' strings, which stay where they are.
at::Tensor join_strings(const Part& part, size_t index, size_t batch_dim) {
  std::vector<at::Tensor> pieces;
  for (const auto& request : part.requests) {
    const auto& input = request.signature->inputs[index];
    pieces.push_back(at::empty(input.shape, at::TensorOptions().dtype(kBytes)));
    read_byte_strings(static_cast<const char*>(request.data[index].memory), input.elements(),
                      static_cast<ByteString*>(pieces.back().mutable_data_ptr()));
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, static_cast<int64_t>(batch_dim));
}

}  // namespace

void DeviceLane::enter() {
  staged_ = 0;
  if (stream_ == nullptr || current_) return;
  c10::impl::VirtualGuardImpl(device_.type()).setDevice(device_);  // a new thread starts on device 0
  current_.emplace(stream_->stream());
}

at::Tensor DeviceLane::gather(const Part& part, size_t index, size_t batch_dim, bool stays_on_host) {
  const bool to_device = stream_ != nullptr && !stays_on_host;
  const auto& first = part.requests[0];
  if (first.signature->inputs[index].dtype == kBytes) return join_strings(part, index, batch_dim);
  const bool alone = part.requests.size() == 1;
  if (alone && !to_device && can_view(first.data[index], kAlignment)) {
    return view(first.data[index], first.signature->inputs[index]);
  }
  at::Tensor staged =
      alone || batch_dim == 0 ? append(part, index, to_device) : join(part, index, batch_dim, to_device);
  if (!to_device) return staged;
  count_staged(staged);
  return staged.to(device_, /*non_blocking=*/true);
}

void DeviceLane::count_staged(const at::Tensor& pinned) {
  staged_ += static_cast<int64_t>(pinned.nbytes());
  if (most_staged_ != nullptr && staged_ > most_staged_->load(std::memory_order_relaxed)) {
    most_staged_->store(staged_, std::memory_order_relaxed);  // nobody else writes it
  }
}

std::vector<at::Tensor> DeviceLane::to_host(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> host;
  host.reserve(tensors.size());
  for (const auto& tensor : tensors) {
    if (tensor.is_cpu()) {
      host.push_back(tensor.contiguous());
    } else {
      host.push_back(new_host_tensor(tensor.sizes(), tensor.scalar_type(), /*pinned=*/true));
      count_staged(host.back());
      host.back().copy_(tensor, /*non_blocking=*/true);
    }
  }
  if (stream_ != nullptr) stream_->wait();
  return host;
}

}  // namespace trtserve
