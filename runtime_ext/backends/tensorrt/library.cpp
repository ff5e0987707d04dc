#include "backends/tensorrt/library.h"

#include <dlfcn.h>

#include "backends/tensorrt/generation.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

/// Calls the library's `int32_t symbol()`, if it exists.
std::optional<int32_t> ask(void* handle, const char* symbol) {
  auto* function = reinterpret_cast<int32_t (*)()>(dlsym(handle, symbol));
  if (function == nullptr) return std::nullopt;
  return function();
}

int32_t major_of(int32_t version) { return version < 100'00 ? version / 1000 : version / 100'00; }

/// Formats a version: 110100 is 11.1.0; before TensorRT 10, 8503 is 8.5.3.
std::string shown_release(int32_t version) {
  if (version < 100'00) return c10::str(version / 1000, ".", version / 100 % 10, ".", version % 100);
  return c10::str(version / 100'00, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace

Library::Library(const std::vector<std::string>& candidates) {
  std::string reasons;
  for (const auto& candidate : candidates) {
    const std::string reason = open(candidate);
    if (reason.empty()) return;
    reasons += c10::str("; ", reason);
  }
  fail(Kind::Unavailable, "no TensorRT ", generation::kMajor,
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
  const auto release = shown_release(*version);
  if (major_of(*version) != generation::kMajor) {
    return c10::str(candidate, " is TensorRT ", release, ", but this backend was built for TensorRT ",
                    generation::kMajor);
  }
  // An older library lacks functions that the headers declare: calls would go beyond the end of its vtables.
  if (*version < generation::kHeaders) {
    return c10::str(candidate, " is TensorRT ", release, ", but this backend was built with the headers of ",
                    shown_release(generation::kHeaders), ": install that version or a later one of TensorRT ",
                    generation::kMajor, ", or build the server with the headers of ", release);
  }
  handle_ = handle;
  path_ = candidate;
  version_ = release;
  if (const auto build = ask(handle, "getInferLibBuildVersion")) version_ += c10::str(".", *build);
  return "";
}

void* Library::find(const char* symbol) const { return dlsym(handle_, symbol); }

nvinfer1::IRuntime* Library::create_runtime(nvinfer1::ILogger& logger) const {
  // Pass the headers' version, since the pointer is used through their classes.
  auto* create = reinterpret_cast<decltype(&createInferRuntime_INTERNAL)>(find("createInferRuntime_INTERNAL"));
  return static_cast<nvinfer1::IRuntime*>(create(&logger, generation::kHeaders));
}

}  // namespace trtserve::tensorrt
