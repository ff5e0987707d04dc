#include "tally.h"

/// Makes this library a library of plugins too, like NVIDIA's: before TensorRT 8.6 it registers them when it is told
/// to.
extern "C" __attribute__((visibility("default"))) bool initLibNvInferPlugins(void* /*logger*/, const char* /*space*/) {
  trtserve::fake::trt::count_call("initLibNvInferPlugins");
  return true;
}
