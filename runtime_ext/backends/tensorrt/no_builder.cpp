// Compiled instead of the builder where its headers were not found.

#include "backends/tensorrt/builder.h"
#include "core/error.h"

namespace trtserve::tensorrt {

bool can_build(const BuildPlace& /*place*/) { return false; }

void check_build_options(const BuildOptions& /*options*/) {
  fail(Kind::Unsupported,
       "this server was compiled without TensorRT's builder, so it cannot build plans: compile it with the headers "
       "NvInfer.h and NvOnnxParser.h of its TensorRT, or upload a plan");
}

void build_plan(const BuildPlace& /*place*/, at::Device /*device*/, const std::string& /*model*/,
                const std::string& /*plan*/, const BuildOptions& options, BuildProgress& /*progress*/) {
  check_build_options(options);
}

}  // namespace trtserve::tensorrt
