#include "core/plugin.h"

#include <dlfcn.h>

#include "core/error.h"

namespace trtserve {

namespace {

void* open(const std::string& backend, const std::string& path, int visibility) {
  // No RTLD_DEEPBIND: the tests' sanitizers need their own lookup order.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE | visibility);
  if (handle == nullptr) fail(Kind::Unavailable, "the ", backend, " backend cannot be opened: ", dlerror());
  return handle;
}

template <typename Function>
Function* symbol(void* handle, const std::string& path, const char* symbol_name) {
  auto* found = reinterpret_cast<Function*>(dlsym(handle, symbol_name));
  if (found == nullptr) fail(Kind::Unavailable, path, " is not a trtserve backend: it has no ", symbol_name);
  return found;
}

}  // namespace

Plugin::Plugin(std::string name, std::string path, std::vector<std::string> libraries, BackendConfig config)
    : name_(std::move(name)), path_(std::move(path)), libraries_(std::move(libraries)), config_(std::move(config)) {}

std::shared_ptr<Backend> Plugin::backend() {
  std::lock_guard lock(mutex_);
  if (!backend_) {
    // Global, so that the plugin's dependencies on them resolve by name.
    for (const auto& library : libraries_) open(name_, library, RTLD_GLOBAL);
    void* handle = open(name_, path_, RTLD_LOCAL);
    const int abi = symbol<decltype(trtserve_backend_abi)>(handle, path_, "trtserve_backend_abi")();
    if (abi != kBackendAbi) {
      fail(Kind::Unavailable, "the ", name_, " backend was built for interface ", abi, ", but this server has ",
           kBackendAbi, ": rebuild it");
    }
    backend_.reset(symbol<decltype(trtserve_backend_create)>(handle, path_, "trtserve_backend_create")(config_));
    if (!backend_) fail(Kind::Unavailable, "the ", name_, " backend's library created no backend");
  }
  return backend_;
}

}  // namespace trtserve
