#include "engine.h"

namespace trtserve::fake::trt {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::OptProfileSelector;
using nvinfer1::TensorFormat;
using nvinfer1::TensorIOMode;
using nvinfer1::TensorLocation;

namespace {

constexpr int32_t kComponents = 32;  // in the only vectorized format
constexpr int32_t kNotVectorized = -1;

/// Like find(), for methods that only report on the first profile.
const Tensor* find_in_first(const Call<EngineState>& call, const char* function, const char* name) {
  if (call && call->plan->profiles.size() > 1) {
    call->reporter.warn(std::string(function) + " reports only on profile 0: this engine has several");
  }
  return find_tensor(call, name, 0);
}

}  // namespace

const Tensor* find_tensor(const Call<EngineState>& call, const char* name, int32_t profile) {
  return call && call->plan->has_profile(profile) ? call->plan->find(name) : nullptr;
}

const Index* profile_values(const Call<EngineState>& call, const Tensor* tensor, int32_t profile,
                            OptProfileSelector select) {
  if (tensor == nullptr || tensor->kind != Kind::ShapeInput) return nullptr;
  const auto& values = call->plan->profiles[static_cast<size_t>(profile)].reported_values;
  return values.at(tensor->name)[static_cast<size_t>(select)].data();
}

TensorFormat format_of(const Tensor* tensor) {
  return tensor != nullptr && tensor->chw32 ? TensorFormat::kCHW32 : TensorFormat::kLINEAR;
}

int32_t bytes_per_component(const Tensor* tensor) {
  return tensor != nullptr && tensor->chw32 ? static_cast<int32_t>(size_of(tensor->type)) : kNotVectorized;
}

int32_t components_per_element(const Tensor* tensor) {
  return tensor != nullptr && tensor->chw32 ? kComponents : kNotVectorized;
}

int32_t vectorized_dim(const Tensor* tensor) {
  return tensor != nullptr && tensor->chw32 ? static_cast<int32_t>(tensor->dims.size()) - 3 : kNotVectorized;
}

const char* describe_format(const Tensor* tensor) {
  if (tensor == nullptr) return "";
  return tensor->chw32 ? "Thirty-two wide channel vectorized row-major format" : "Row-major linear format";
}

Dims Engine::getTensorShape(char const* name) const noexcept {
  const Call call(object_, "getTensorShape", Use::Shared);
  const auto* const tensor = find_tensor(call, name, 0);
  return tensor == nullptr ? kInvalidDims : to_dims(tensor->dims);
}

DataType Engine::getTensorDataType(char const* name) const noexcept {
  const Call call(object_, "getTensorDataType", Use::Shared);
  const auto* const tensor = find_tensor(call, name, 0);
  return tensor == nullptr ? DataType::kFLOAT : tensor->type;
}

TensorLocation Engine::getTensorLocation(char const* name) const noexcept {
  const Call call(object_, "getTensorLocation", Use::Shared);
  const auto* const tensor = find_tensor(call, name, 0);
  return tensor != nullptr && tensor->on_host() ? TensorLocation::kHOST : TensorLocation::kDEVICE;
}

bool Engine::isShapeInferenceIO(char const* name) const noexcept {
  const Call call(object_, "isShapeInferenceIO", Use::Shared);
  const auto* const tensor = find_tensor(call, name, 0);
  return tensor != nullptr && tensor->on_host() && !tensor->quiet;
}

TensorIOMode Engine::getTensorIOMode(char const* name) const noexcept {
  const Call call(object_, "getTensorIOMode", Use::Shared);
  const auto* const tensor = find_tensor(call, name, 0);
  if (tensor == nullptr) return TensorIOMode::kNONE;
  return tensor->is_input() ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
}

int32_t Engine::getTensorBytesPerComponent(char const* name) const noexcept {
  const Call call(object_, "getTensorBytesPerComponent", Use::Shared);
  return bytes_per_component(find_in_first(call, "getTensorBytesPerComponent", name));
}

int32_t Engine::getTensorComponentsPerElement(char const* name) const noexcept {
  const Call call(object_, "getTensorComponentsPerElement", Use::Shared);
  return components_per_element(find_in_first(call, "getTensorComponentsPerElement", name));
}

TensorFormat Engine::getTensorFormat(char const* name) const noexcept {
  const Call call(object_, "getTensorFormat", Use::Shared);
  return format_of(find_in_first(call, "getTensorFormat", name));
}

char const* Engine::getTensorFormatDesc(char const* name) const noexcept {
  const Call call(object_, "getTensorFormatDesc", Use::Shared);
  return describe_format(find_in_first(call, "getTensorFormatDesc", name));
}

int32_t Engine::getTensorVectorizedDim(char const* name) const noexcept {
  const Call call(object_, "getTensorVectorizedDim", Use::Shared);
  return vectorized_dim(find_in_first(call, "getTensorVectorizedDim", name));
}

int32_t Engine::getNbIOTensors() const noexcept {
  const Call call(object_, "getNbIOTensors", Use::Shared);
  return call ? static_cast<int32_t>(call->plan->tensors.size()) : 0;
}

char const* Engine::getIOTensorName(int32_t index) const noexcept {
  const Call call(object_, "getIOTensorName", Use::Shared);
  if (!call) return nullptr;
  const auto& tensors = call->plan->tensors;
  if (index >= 0 && static_cast<size_t>(index) < tensors.size())
    return tensors[static_cast<size_t>(index)].name.c_str();
  call->reporter.misuse("getIOTensorName", "there is no tensor ", index);
  return nullptr;
}

Dims Engine::getProfileShape(char const* name, int32_t profile, OptProfileSelector select) const noexcept {
  const Call call(object_, "getProfileShape", Use::Shared);
  const auto* const tensor = find_tensor(call, name, profile);
  if (tensor == nullptr || !tensor->is_input()) return kInvalidDims;
  const auto& ranges = call->plan->profiles[static_cast<size_t>(profile)].dims;
  const auto found = ranges.find(tensor->name);
  return to_dims(found == ranges.end() ? tensor->dims : found->second[static_cast<size_t>(select)]);
}

}  // namespace trtserve::fake::trt
