#include "core/device_health.h"

#include <memory>
#include <mutex>

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
  // Never destroyed: worker threads may ask until the process ends.
  static DeadDevices& dead = *std::make_unique<DeadDevices>().release();
  return dead;
}

/// A query of a stream does not wait, and returns a sticky error as every call does.
bool answers(at::Device device) {
  try {
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard.queryStream(guard.getStream(device));
    return true;
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

bool still_alive(at::Device device, const std::string& reason) {
  if (device.is_cpu() || answers(device)) return true;
  const std::string line = reason.substr(0, reason.find('\n'));  // torch adds advice and a stack trace
  const std::lock_guard lock(dead().mutex);
  if (dead().reasons.emplace(device.str(), line).second) {
    log(Severity::Error, "device", c10::str("device ", device.str(), " is dead: ", line));
  }
  return false;
}

std::map<std::string, std::string> dead_devices() {
  const std::lock_guard lock(dead().mutex);
  return dead().reasons;
}

}  // namespace trtserve
