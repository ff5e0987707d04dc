#include <algorithm>

#include "context.h"
#include "current.h"
#include "inference.h"

namespace trtserve::fake::trt {

using nvinfer1::Dims;
using nvinfer1::ErrorCode;

namespace {

constexpr uintptr_t kAlignment = 256;

}  // namespace

std::optional<size_t> find_tensor(const Call<ContextState>& call, const char* function, const char* name, Want want) {
  if (!call) return std::nullopt;
  const auto* const tensor = call->plan.find(name);
  if (tensor != nullptr && (want == Want::Any || (want == Want::Input) == tensor->is_input())) {
    return call->index(*tensor);
  }
  call->reporter.error(ErrorCode::kINVALID_ARGUMENT, function, "API Usage Error",
                       "Given invalid tensor name: ", name == nullptr ? "null" : name);
  return std::nullopt;
}

bool set_address(const Call<ContextState>& call, const char* function, const char* name, void* data, Want want) {
  const auto index = find_tensor(call, function, name, want);
  if (!index) return false;
  if (reinterpret_cast<uintptr_t>(data) % kAlignment != 0) {
    call->reporter.misuse(function, "the address of tensor '", name, "' is not aligned to ", kAlignment, " bytes");
    return false;
  }
  call->note_setting();
  call->addresses[*index] = data;
  call->seen_values.erase(*index);
  return true;
}

bool Context::setInputShape(char const* name, Dims const& dims) noexcept {
  const Call call(object_, "setInputShape");
  const auto index = find_tensor(call, "setInputShape", name, Want::Input);
  if (!index) return false;
  if (const auto* reason = call->plan.failure("shape")) {
    call->reporter.error(ErrorCode::kINTERNAL_ERROR, "setInputShape", "Internal Error", *reason);
    return false;
  }
  const Shape shape = to_shape(dims);
  const auto wrong = kShapesAreChecked ? objection(*call, call->plan.tensors[*index], shape) : "";
  if (!wrong.empty()) {
    call->reporter.misuse("setInputShape", wrong);
    return false;
  }
  call->note_setting();
  auto& before = call->input_shapes[*index];
  if (before == shape) return true;
  call->note_change();
  call->changed = true;
  before = shape;
  return true;
}

Dims Context::getTensorShape(char const* name) const noexcept {
  const Call call(object_, "getTensorShape");
  const auto index = find_tensor(call, "getTensorShape", name, Want::Any);
  if (!index) return kInvalidDims;
  const auto inference = infer_and_remember(*call);
  const auto found = call->found_shapes.find(*index);
  return to_dims(found == call->found_shapes.end() ? inference.shapes[*index] : found->second);
}

bool Context::allInputDimensionsSpecified() const noexcept {
  const Call call(object_, "allInputDimensionsSpecified");
  return call && infer(*call).missing.empty();
}

bool Context::setTensorAddress(char const* name, void* data) noexcept {
  return set_address(Call(object_, "setTensorAddress"), "setTensorAddress", name, data, Want::Any);
}

void const* Context::getTensorAddress(char const* name) const noexcept {
  const Call call(object_, "getTensorAddress");
  const auto index = find_tensor(call, "getTensorAddress", name, Want::Any);
  return index ? call->addresses[*index] : nullptr;
}

bool Context::setInputTensorAddress(char const* name, void const* data) noexcept {
  // Inputs are only read.
  return set_address(Call(object_, "setInputTensorAddress"), "setInputTensorAddress", name, const_cast<void*>(data),
                     Want::Input);
}

int32_t Context::inferShapes(int32_t most_names, char const** names) noexcept {
  const Call call(object_, "inferShapes");
  if (!call) return -1;
  if (most_names < 0 || (names == nullptr && most_names != 0)) {
    call->reporter.misuse("inferShapes", "there is no space for ", most_names, " names");
    return -1;
  }
  if (const auto* reason = call->plan.failure("infer")) {
    call->reporter.error(ErrorCode::kINTERNAL_ERROR, "inferShapes", "Internal Error", *reason);
    return -1;
  }
  const auto inference = infer_and_remember(*call);
  if (!inference.error.empty()) {
    call->reporter.misuse("inferShapes", inference.error);
    return -1;
  }
  for (size_t i = 0; i < std::min(inference.missing.size(), static_cast<size_t>(most_names)); ++i) {
    names[i] = inference.missing[i]->name.c_str();
  }
  if (inference.missing.empty()) write_host_outputs(*call, inference);
  return static_cast<int32_t>(inference.missing.size());
}

bool Context::setOutputAllocator(char const* name, nvinfer1::IOutputAllocator* allocator) noexcept {
  const Call call(object_, "setOutputAllocator");
  const auto index = find_tensor(call, "setOutputAllocator", name, Want::Output);
  if (!index) return false;
  call->note_setting();
  call->allocators[*index] = allocator;
  return true;
}

int64_t Context::getMaxOutputSize(char const* name) const noexcept {
  const Call call(object_, "getMaxOutputSize");
  const auto index = find_tensor(call, "getMaxOutputSize", name, Want::Output);
  if (!index) return -1;
  const auto inference = infer(*call);
  if (!inference.missing.empty()) return -1;
  const auto& output = call->plan.tensors[*index];
  const auto found = call->found_bytes.find(*index);
  if (!kAsksForNeededBytes && found != call->found_bytes.end()) return static_cast<int64_t>(found->second);
  // At most one index per element.
  const auto& shape = inference.shapes[output.kind == Kind::Nonzero ? output.first : *index];
  return element_count(shape) * static_cast<int64_t>(size_of(output.type));
}

bool Context::enqueueV3(cudaStream_t stream) noexcept {
  const Call call(object_, "enqueueV3");
  if (!call) return false;
  try {
    check_usable(current_device());
    return enqueue(*call, stream);
  } catch (const std::exception& error) {
    const std::string reason = error.what();
    call->reporter.error(ErrorCode::kFAILED_EXECUTION, "enqueueV3", "Cuda Runtime",
                         reason.substr(0, reason.find('\n')));
    return false;
  }
}

}  // namespace trtserve::fake::trt
