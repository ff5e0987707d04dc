#include "ops/module_file.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <sstream>

#include <unistd.h>

#include <torch/csrc/jit/serialization/export.h>

#include "core/error.h"
#include "core/process_engines.h"
#include "ops/plan_engine.h"
#include "ops/wrapper.h"

namespace trtserve {

namespace {

/// Writes all bytes; false, with errno, if that fails.
bool write_all(int fd, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(fd, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    count -= static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

std::string module_file(const Engine& engine) {
  std::ostringstream file;
  make_typed_wrapper(engine).save(file);
  return std::move(file).str();
}

torch::jit::Module carrying_module(const Engine& engine, const std::string& plan) {
  const auto source = std::make_shared<const EngineSource>(
      EngineSource{engine.id(), engine.backend(), engine.options(), OpenPlan::open(plan)});
  return make_carrying_wrapper(engine, c10::make_intrusive<PlanEngine>(source));
}

void write_module(const torch::jit::Module& module, int fd) {
  // torch's writer ends the process when a write fails, because its destructor throws. So it is not told, and what
  // would follow is dropped.
  int failure = 0;
  torch::jit::ExportModule(module, [&](const void* bytes, size_t count) {
    if (failure == 0 && !write_all(fd, static_cast<const char*>(bytes), count)) failure = errno;
    return count;
  });
  if (failure != 0) fail(Kind::Unavailable, "the module's file cannot be written: ", std::strerror(failure));
}

}  // namespace trtserve
