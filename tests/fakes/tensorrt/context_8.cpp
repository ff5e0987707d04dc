#include "context.h"

// The methods of contexts that only TensorRT 8 has.

namespace trtserve::fake::trt {

void Context::setDeviceMemory(void* memory) noexcept {
  const Call call(object_, "setDeviceMemory");
  if (call) provide_scratch(*call, "setDeviceMemory", memory, call->plan.most_scratch_bytes());
}

}  // namespace trtserve::fake::trt
