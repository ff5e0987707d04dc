#include "core/inputs.h"

#include <algorithm>
#include <cstring>

#include <ATen/Functions.h>
#include <c10/core/ScalarType.h>

#include "core/error.h"

namespace trtserve {

namespace {

std::string list_names(const std::vector<TensorSpec>& specs) {
  if (specs.empty()) return "none";
  std::string text;
  for (const auto& spec : specs) {
    if (!text.empty()) text += ", ";
    text += c10::str("'", spec.name, "'");
  }
  return text;
}

/// The length that shape and datatype say. A product beyond 63 bits can be no buffer's length.
size_t expected_bytes(const HostTensor& tensor, c10::ScalarType dtype) {
  auto bytes = static_cast<int64_t>(c10::elementSize(dtype));
  for (const int64_t dim : tensor.shape) {
    // An empty tensor's strides go by its other dimensions, so these have to be countable as well.
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes)) {
      fail(Kind::InvalidInput, "input '", tensor.name, "' has shape ", format_shape(tensor.shape),
           ": no memory holds that many elements");
    }
  }
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  return empty ? 0 : static_cast<size_t>(bytes);
}

at::Tensor view(const HostTensor& tensor, const TensorSpec& spec) {
  const auto parsed = parse_datatype(tensor.datatype);
  if (!parsed) {
    fail(Kind::InvalidInput, "input '", tensor.name, "' has datatype ", tensor.datatype, "; the engine takes ",
         datatype_name(spec.dtype));
  }
  const c10::ScalarType dtype = *parsed;
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t dim) { return dim < 0; })) {
    fail(Kind::InvalidInput, "input '", tensor.name, "' has a negative dimension in its shape");
  }
  check_input(spec, dtype, tensor.shape);
  const size_t expected = expected_bytes(tensor, dtype);
  if (tensor.bytes != expected) {
    fail(Kind::InvalidInput, "input '", tensor.name, "' has ", tensor.bytes, " bytes; ", tensor.datatype, " ",
         format_shape(tensor.shape), " takes ", expected);
  }
  const auto options = at::TensorOptions().dtype(dtype);
  if (expected == 0) return at::empty(tensor.shape, options);
  if (reinterpret_cast<uintptr_t>(tensor.data) % c10::elementSize(dtype) != 0) {
    at::Tensor aligned = at::empty(tensor.shape, options);
    std::memcpy(aligned.mutable_data_ptr(), tensor.data, expected);
    return aligned;
  }
  // Nothing writes through an input: the const_cast gives from_blob the type it asks for.
  return at::from_blob(const_cast<void*>(tensor.data), tensor.shape, options);
}

}  // namespace

std::vector<at::Tensor> bind_inputs(const Engine& engine, const std::vector<HostTensor>& tensors) {
  const auto& specs = engine.inputs();
  std::vector<at::Tensor> inputs(specs.size());
  for (const auto& tensor : tensors) {
    const auto spec = std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == tensor.name; });
    if (spec == specs.end()) {
      fail(Kind::InvalidInput, engine.label(), " has no input '", tensor.name, "'; its inputs: ", list_names(specs));
    }
    auto& input = inputs[static_cast<size_t>(spec - specs.begin())];
    if (input.defined()) fail(Kind::InvalidInput, "input '", tensor.name, "' came twice");
    input = view(tensor, *spec);
  }
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!inputs[i].defined()) {
      fail(Kind::InvalidInput, "input '", specs[i].name, "' is missing: ", datatype_name(specs[i].dtype), " ",
           specs[i].shape ? format_shape(*specs[i].shape) : "of any shape");
    }
  }
  return inputs;
}

}  // namespace trtserve
