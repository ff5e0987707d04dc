// Preloaded before a sanitizer's runtime: removes RTLD_DEEPBIND from every dlopen. TBB opens one of its libraries with
// that flag, which the sanitizers refuse, since it would hide their allocator from that library.

#include <dlfcn.h>

extern "C" void* dlopen(const char* path, int flags) {
  static auto* const next = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
  return next(path, flags & ~RTLD_DEEPBIND);
}
