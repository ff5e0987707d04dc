#include "core/device_health.h"

#include <memory>
#include <mutex>
#include <new>
#include <system_error>

#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/error.h"
#include "core/log.h"

namespace trtserve {

namespace {

struct DeadDevices {
  std::mutex mutex;
  std::map<std::string, std::string> reasons;  // guarded by mutex
};

DeadDevices& dead() {
  // Never destroyed: worker threads may use it until the process ends.
  static DeadDevices& dead = *std::make_unique<DeadDevices>().release();
  return dead;
}

/// True for CUDA's cudaErrorStreamCapture…: a stream under capture does not permit many calls, queries included, so
/// such an error does not mean a dead device.
bool is_capture_error(const c10::AcceleratorError& error) {
  return error.get_error_code() >= 900 && error.get_error_code() <= 908;
}

/// A stream query does not wait, and returns a sticky error like any other call.
bool answers(at::Device device) {
  try {
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard.queryStream(guard.getDefaultStream(device));
    return true;
  } catch (const c10::AcceleratorError& error) {
    return is_capture_error(error);
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

void check_alive(at::Device device) {
  if (device.is_cpu()) return;
  const std::lock_guard lock(dead().mutex);
  const auto found = dead().reasons.find(device.str());
  if (found == dead().reasons.end()) return;
  fail(Kind::Unavailable, "device ", device.str(), " is dead: ", found->second, ": restart the server");
}

bool is_alive(at::Device device) {
  if (device.is_cpu()) return true;
  const std::lock_guard lock(dead().mutex);
  return dead().reasons.count(device.str()) == 0;
}

bool still_alive(at::Device device, const std::string& reason) {
  if (device.is_cpu() || answers(device)) return true;
  const std::string line = reason.substr(0, reason.find('\n'));  // torch adds advice and a stack trace
  const std::lock_guard lock(dead().mutex);
  if (dead().reasons.emplace(device.str(), line).second) {
    log(Severity::Error, "device", c10::str("device ", device.str(), " is dead: ", line));
  }
  return false;
}

std::string reason_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return torch == nullptr ? error.what() : torch->what_without_backtrace();
}

namespace {

/// torch's host allocator reports it only as text.
bool is_out_of_host_memory(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         std::string_view(error.what()).find("DefaultCPUAllocator: ") != std::string_view::npos;
}

/// True if the system is short of threads, memory or file descriptors now, but may have them later.
bool is_out_of_resources(const std::exception& error) {
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system == nullptr) return false;
  const auto code = system->code().default_error_condition();
  return code == std::errc::resource_unavailable_try_again || code == std::errc::not_enough_memory ||
         code == std::errc::too_many_files_open || code == std::errc::too_many_files_open_in_system;
}

}  // namespace

Error explained(at::Device device, const std::string& label, const std::exception_ptr& failure) {
  const auto failed = [&](const std::string& reason) {
    const Kind kind = still_alive(device, reason) ? Kind::ExecutionFailed : Kind::Unavailable;
    return Error(kind, c10::str(label, " failed: ", reason));
  };
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return still_alive(device, error.what()) ? error : Error(Kind::Unavailable, error.what());
  } catch (const c10::OutOfMemoryError& error) {
    return {Kind::Unavailable, c10::str(label, " needs more memory than ", device, " has: ", reason_of(error)),
            std::chrono::seconds(5)};  // other users may release memory
  } catch (const std::exception& error) {
    if (is_out_of_host_memory(error))
      return {Kind::Unavailable, c10::str(label, " needs more memory than is available")};
    if (is_out_of_resources(error)) {
      return {Kind::Unavailable, c10::str(label, " did not get a resource from the system: ", error.what())};
    }
    return failed(reason_of(error));
  } catch (...) {
    return failed("it gave no reason");
  }
}

std::map<std::string, std::string> dead_devices() {
  const std::lock_guard lock(dead().mutex);
  return dead().reasons;
}

}  // namespace trtserve
