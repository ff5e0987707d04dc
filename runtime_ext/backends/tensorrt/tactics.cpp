#include "backends/tensorrt/tactics.h"

#include <dlfcn.h>

#include <algorithm>

#include <c10/util/StringUtil.h>

#include "backends/tensorrt/builder_generation.h"
#include "core/log.h"

namespace trtserve::tensorrt {

namespace {

/// Left open: TensorRT opens it again.
bool is_there(const generation::TacticLibrary& library) {
  return std::any_of(library.names.begin(), library.names.end(), [&](const char* name) {
    void* handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    return handle != nullptr && dlsym(handle, library.symbol) != nullptr;
  });
}

}  // namespace

void drop_missing_tactics(nvinfer1::IBuilderConfig& config) {
  nvinfer1::TacticSources sources = config.getTacticSources();
  for (const auto& library : generation::tactic_libraries()) {
    if (is_there(library)) continue;
    sources &= ~(1U << static_cast<uint32_t>(library.source));
    log(Severity::Info, "tensorrt",
        c10::str(library.names.front(), " cannot be loaded, so the build does without its kernels"));
  }
  if (sources != config.getTacticSources()) config.setTacticSources(sources);
}

}  // namespace trtserve::tensorrt
