#include "engine.h"

// The methods of engines that only TensorRT 8 has. Bindings are numbered over the profiles: those of profile 0, then
// those of profile 1, and so on.

namespace trtserve::fake::trt {

using nvinfer1::OptProfileSelector;
using nvinfer1::TensorFormat;

namespace {

int32_t each(const EngineState& engine) { return static_cast<int32_t>(engine.plan->tensors.size()); }

int32_t bindings(const EngineState& engine) {
  return each(engine) * static_cast<int32_t>(engine.plan->profiles.size());
}

/// The tensor of a binding; null if there is no such binding.
const Tensor* find_binding(const Call<EngineState>& call, int32_t index) {
  if (!call || index < 0 || index >= bindings(*call)) return nullptr;
  return &call->plan->tensors[static_cast<size_t>(index % each(*call))];
}

}  // namespace

nvinfer1::IExecutionContext* Engine::createExecutionContext() noexcept {
  const Call call(object_, "createExecutionContext", Use::Shared);
  return create_context(call, "createExecutionContext", ScratchMemory::ForAllProfiles);
}

nvinfer1::IExecutionContext* Engine::createExecutionContextWithoutDeviceMemory() noexcept {
  const Call call(object_, "createExecutionContextWithoutDeviceMemory", Use::Shared);
  return create_context(call, "createExecutionContextWithoutDeviceMemory", ScratchMemory::OfApplication);
}

size_t Engine::getDeviceMemorySize() const noexcept {
  const Call call(object_, "getDeviceMemorySize", Use::Shared);
  return call ? static_cast<size_t>(call->plan->most_scratch_bytes()) : 0;
}

int32_t Engine::getNbBindings() const noexcept {
  const Call call(object_, "getNbBindings", Use::Shared);
  return call ? bindings(*call) : 0;
}

// The names of other profiles' bindings end in " [profile 1]"; nothing here uses them.
int32_t Engine::getBindingIndex(char const* name) const noexcept {
  const Call call(object_, "getBindingIndex", Use::Shared);
  const auto* const tensor = find_tensor(call, name, 0);
  return tensor == nullptr ? -1 : static_cast<int32_t>(tensor - call->plan->tensors.data());
}

TensorFormat Engine::getBindingFormat(int32_t index) const noexcept {
  const Call call(object_, "getBindingFormat", Use::Shared);
  return format_of(find_binding(call, index));
}

char const* Engine::getBindingFormatDesc(int32_t index) const noexcept {
  const Call call(object_, "getBindingFormatDesc", Use::Shared);
  return describe_format(find_binding(call, index));
}

int32_t const* Engine::getProfileShapeValues(int32_t profile, int32_t input, OptProfileSelector select) const noexcept {
  const Call call(object_, "getProfileShapeValues", Use::Shared);
  if (!call || !call->plan->has_profile(profile)) return nullptr;
  if (input / each(*call) != profile) {
    call->reporter.misuse("getProfileShapeValues", "binding ", input, " does not belong to profile ", profile);
    return nullptr;
  }
  return profile_values(call, find_binding(call, input), profile, select);
}

}  // namespace trtserve::fake::trt
