#include "runtime.h"

// The methods of runtimes that TensorRT 8 does not have.

namespace trtserve::fake::trt {

nvinfer1::IPluginRegistry& Runtime::getPluginRegistry() noexcept {
  const Call call(object_, "getPluginRegistry", Use::Shared);
  return registry_;
}

void Runtime::setEngineHostCodeAllowed(bool allowed) noexcept {
  const Call call(object_, "setEngineHostCodeAllowed");
  if (call) call->host_code_allowed = allowed;
}

bool Runtime::getEngineHostCodeAllowed() const noexcept {
  const Call call(object_, "getEngineHostCodeAllowed", Use::Shared);
  return call && call->host_code_allowed;
}

}  // namespace trtserve::fake::trt
