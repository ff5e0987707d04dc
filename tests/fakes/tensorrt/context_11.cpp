#include <set>

#include "context.h"
#include "inference.h"

// The methods of contexts that TensorRT 8 does not have.

namespace trtserve::fake::trt {

void Context::setDeviceMemoryV2(void* memory, int64_t size) noexcept {
  const Call call(object_, "setDeviceMemoryV2");
  if (call) provide_scratch(*call, "setDeviceMemoryV2", memory, size);
}

bool Context::setOutputTensorAddress(char const* name, void* data) noexcept {
  return set_address(Call(object_, "setOutputTensorAddress"), "setOutputTensorAddress", name, data, Want::Output);
}

size_t Context::updateDeviceMemorySizeForShapes() noexcept {
  const Call call(object_, "updateDeviceMemorySizeForShapes");
  if (!call) return 0;
  const auto inference = infer_and_remember(*call);
  if (inference.missing.empty()) return static_cast<size_t>(call->plan.scratch_bytes(inference.shapes));
  call->reporter.misuse("updateDeviceMemorySizeForShapes", "input '", inference.missing[0]->name, "' has no shape yet");
  return 0;
}

void Context::setAuxStreams(cudaStream_t* streams, int32_t count) noexcept {
  const Call call(object_, "setAuxStreams");
  if (!call) return;
  const std::set<cudaStream_t> distinct(streams, streams + count);
  if (distinct.contains(nullptr)) call->reporter.misuse("setAuxStreams", "one is the default stream");
  if (distinct.size() != static_cast<size_t>(count)) call->reporter.misuse("setAuxStreams", "two are the same");
}

}  // namespace trtserve::fake::trt
