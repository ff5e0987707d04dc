#include "backends/torchscript/string_lists.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <ATen/Functions.h>

#include "core/byte_strings.h"
#include "core/error.h"
#include "core/module_memory.h"

namespace trtserve::torchscript {

namespace {

// One string may be in a list many times, but each time in the answer.
constexpr int64_t kWritten = 3;     // bytes in all that a byte of a string takes until its answer is sent
constexpr int64_t kOfElement = 64;  // bytes of an element beside its own

at::Tensor to_tensor(const ByteString& string) {
  auto tensor = at::empty({static_cast<int64_t>(string.size)}, at::TensorOptions().dtype(at::kByte));
  if (string.size != 0) std::memcpy(tensor.mutable_data_ptr(), string.data, string.size);
  return tensor;
}

/// The shape of `count` elements: the described one, whose only dimension that varies is found from it.
std::vector<int64_t> shape_of(int64_t count, const TensorSpec& spec) {
  auto shape = *spec.shape;
  int64_t fixed = 1;
  for (const int64_t dim : shape) fixed *= dim < 0 ? 1 : dim;
  const auto varying = std::find(shape.begin(), shape.end(), -1);
  if (varying != shape.end() && fixed != 0) *varying = count / fixed;
  int64_t described = 1;
  for (const int64_t dim : shape) described *= std::max<int64_t>(dim, 0);
  if (described != count) {
    fail(Kind::ExecutionFailed, "the module's output '", spec.name, "' has ", count, " strings; it is described as ",
         format_shape(*spec.shape));
  }
  return shape;
}

at::Tensor checked_bytes(const at::Tensor& tensor, const TensorSpec& spec) {
  if (!tensor.defined() || tensor.layout() != at::kStrided || tensor.scalar_type() != at::kByte || tensor.dim() != 1) {
    fail(Kind::ExecutionFailed, "the module's output '", spec.name,
         "' has an element that is no UINT8 tensor with one dimension");
  }
  return tensor.to(at::kCPU).contiguous();
}

}  // namespace

c10::IValue to_list(const at::Tensor& strings, const TensorSpec& spec) {
  const auto* elements = static_cast<const ByteString*>(strings.const_data_ptr());
  const auto count = static_cast<size_t>(strings.numel());
  if (spec.text) {
    c10::List<std::string> list;
    list.reserve(count);
    for (size_t i = 0; i < count; ++i) list.push_back(std::string(elements[i].view()));
    return list;
  }
  c10::List<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; ++i) list.push_back(to_tensor(elements[i]));
  return list;
}

at::Tensor from_list(const c10::IValue& list, const TensorSpec& spec) {
  // Copies of the references: the list may be the module's own.
  const auto owner = std::make_shared<std::vector<c10::IValue>>();
  std::vector<ByteString> elements;
  for (const c10::IValue& element : list.toListRef()) {
    if (spec.text) {
      owner->push_back(element);
      const auto& text = owner->back().toStringRef();
      elements.push_back({text.data(), text.size()});
    } else {
      const auto bytes = checked_bytes(element.toTensor(), spec);
      owner->emplace_back(bytes);
      elements.push_back({static_cast<const char*>(bytes.const_data_ptr()), static_cast<uint64_t>(bytes.numel())});
    }
  }
  int64_t bytes = 0;
  for (const auto& element : elements) bytes += kWritten * static_cast<int64_t>(element.size) + kOfElement;
  check_module_memory(bytes);
  const auto shape = shape_of(static_cast<int64_t>(elements.size()), spec);
  return byte_strings(std::move(elements), shape, owner);
}

}  // namespace trtserve::torchscript
