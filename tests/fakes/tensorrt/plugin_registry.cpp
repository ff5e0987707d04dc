#include "plugin_registry.h"

#include <dlfcn.h>

#include "contract.h"

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;

void PluginRegistry::setErrorRecorder(nvinfer1::IErrorRecorder* const recorder) noexcept {
  reporter_.set_recorder(recorder);
}

nvinfer1::IErrorRecorder* PluginRegistry::getErrorRecorder() const noexcept { return reporter_.recorder(); }

nvinfer1::IPluginRegistry::PluginLibraryHandle PluginRegistry::loadLibrary(nvinfer1::AsciiChar const* path) noexcept {
  count_call("loadLibrary");
  void* const handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    reporter_.error(ErrorCode::kINVALID_ARGUMENT, "loadLibrary", "API Usage Error",
                    "Could not load plugin library: ", dlerror());
    return nullptr;
  }
  const bool plugins = dlsym(handle, "getCreators") != nullptr || dlsym(handle, "getPluginCreators") != nullptr;
  const std::lock_guard lock(mutex_);
  if (plugins && libraries_.insert(handle).second) return handle;
  reporter_.error(ErrorCode::kINVALID_ARGUMENT, "loadLibrary", "API Usage Error", path,
                  plugins ? ": its plugins are registered already" : ": the library has no getCreators");
  dlclose(handle);
  return nullptr;
}

void PluginRegistry::deregisterLibrary(PluginLibraryHandle handle) noexcept {
  count_call("deregisterLibrary");
  const std::lock_guard lock(mutex_);
  if (libraries_.erase(handle) == 0) {
    reporter_.misuse("deregisterLibrary", "called on a handle that loadLibrary did not return");
  } else {
    dlclose(handle);
  }
}

}  // namespace trtserve::fake::trt

/// Makes this library an empty plugin library too, for tests of loadLibrary().
extern "C" __attribute__((visibility("default"))) void* const* getCreators(int32_t& count) {
  count = 0;
  return nullptr;
}
