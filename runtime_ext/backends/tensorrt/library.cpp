#include "backends/tensorrt/library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

/// Calls the library's `int32_t symbol()`, if it has it.
std::optional<int32_t> ask(void* handle, const char* symbol) {
  auto* function = reinterpret_cast<int32_t (*)()>(dlsym(handle, symbol));
  if (function == nullptr) return std::nullopt;
  return function();
}

}  // namespace

Library::Library(const std::vector<std::string>& candidates) {
  std::string reasons;
  for (const auto& candidate : candidates) {
    const std::string reason = open(candidate);
    if (reason.empty()) return;
    reasons += c10::str("; ", reason);
  }
  fail(Kind::Unavailable, "no TensorRT ", NV_TENSORRT_MAJOR,
       " runtime library was found (install tensorrt or tensorrt_lean of that version, or name the library with "
       "--tensorrt-library)",
       reasons);
}

std::string Library::open(const std::string& candidate) {
  void* handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return dlerror();
  const auto version = ask(handle, "getInferLibVersion");
  if (!version || dlsym(handle, "createInferRuntime_INTERNAL") == nullptr) {
    return c10::str(candidate, " is not a TensorRT runtime library");
  }
  // MAJOR * 10000 + MINOR * 100 + PATCH since TensorRT 10; MAJOR * 1000 + ... before.
  const int32_t major = *version < 100'00 ? *version / 1000 : *version / 100'00;
  if (major != NV_TENSORRT_MAJOR) {
    return c10::str(candidate, " is TensorRT ", major, ", and this server was built for TensorRT ", NV_TENSORRT_MAJOR);
  }
  handle_ = handle;
  path_ = candidate;
  version_ = c10::str(major, ".", *version / 100 % 100, ".", *version % 100);
  if (const auto build = ask(handle, "getInferLibBuildVersion")) version_ += c10::str(".", *build);
  return "";
}

void* Library::find(const char* symbol) const { return dlsym(handle_, symbol); }

nvinfer1::IRuntime* Library::create_runtime(nvinfer1::ILogger& logger) const {
  // The version that goes with the call is the headers', whose classes the pointer is then used through.
  auto* create = reinterpret_cast<decltype(&createInferRuntime_INTERNAL)>(find("createInferRuntime_INTERNAL"));
  return static_cast<nvinfer1::IRuntime*>(create(&logger, NV_TENSORRT_VERSION));
}

}  // namespace trtserve::tensorrt
