#include "machine.h"

#include <chrono>
#include <memory>

#include <c10/util/Exception.h>

#include "stream.h"

namespace trtserve::fake {

namespace {

constexpr std::chrono::seconds kExitPatience{1};

/// Why the device is broken; null if it is not. The caller holds `machine().mutex`.
const std::string* why_broken(int device) {
  for (const auto& [broken, reason] : machine().broken) {
    if (broken == device || broken == kEveryDevice) return &reason;
  }
  return nullptr;
}

/// The caller holds `machine().mutex`.
void throw_if_broken(int device) {
  const auto* reason = why_broken(device);
  TORCH_CHECK(reason == nullptr, *reason);
}

}  // namespace

Machine& machine() {
  static Machine& machine = *std::make_unique<Machine>().release();
  return machine;
}

int device_count() {
  const std::lock_guard lock(machine().mutex);
  return machine().devices;
}

void wait_until(std::unique_lock<std::mutex>& lock, int device, const std::function<bool()>& holds) {
  const int waits = holds() ? 0 : 1;
  machine().waiting += waits;
  machine().changed.notify_all();
  machine().changed.wait(lock, [&] {
    if (machine().exiting) return *machine().exiting == std::this_thread::get_id();
    return holds() || why_broken(device) != nullptr;
  });
  machine().waiting -= waits;
  throw_if_broken(device);
}

void stop_for_exit() {
  std::unique_lock lock(machine().mutex);
  machine().exiting = std::this_thread::get_id();
  machine().changed.notify_all();
  machine().changed.wait_for(lock, kExitPatience, [] { return machine().running == 0; });
}

void check_usable(int device) {
  const std::lock_guard lock(machine().mutex);
  throw_if_broken(device);
}

void breach(const std::string& sentence) {
  const std::lock_guard lock(machine().mutex);
  machine().breaches.push_back(sentence);
}

}  // namespace trtserve::fake
