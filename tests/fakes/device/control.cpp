#include "control.h"

#include <algorithm>
#include <string>

#include "device_memory.h"
#include "graveyard.h"
#include "machine.h"
#include "pinned_memory.h"
#include "stream_table.h"

using trtserve::fake::machine;

namespace {

/// Changes the machine's state, and notifies waiting threads.
template <typename Change>
void change(const Change& to_state) {
  const std::lock_guard lock(machine().mutex);
  to_state();
  machine().changed.notify_all();
}

}  // namespace

int64_t fake_device_memory() { return trtserve::fake::device_memory().allocated(); }
int64_t fake_device_peak() { return trtserve::fake::device_memory().peak(); }
void fake_device_reset_peak() { trtserve::fake::device_memory().reset_peak(); }
int64_t fake_pinned_memory() { return trtserve::fake::pinned_memory().allocated(); }
void fake_device_limit(int64_t bytes) { trtserve::fake::device_memory().set_limit(bytes); }

void fake_device_break(const char* reason) {
  change([&] {
    machine().broken.clear();
    if (reason != nullptr) machine().broken[trtserve::fake::kEveryDevice] = reason;
  });
}

void fake_device_break_one(int device, const char* reason) {
  change([&] { machine().broken[device] = reason; });
}

void fake_device_count_set(int count) {
  change([&] { machine().devices = std::clamp(count, 0, trtserve::fake::kMaxDevices); });
}

int fake_device_count() { return trtserve::fake::device_count(); }

const char* fake_breaches() {
  static thread_local std::string lines;
  trtserve::fake::graveyard().check();
  const std::lock_guard lock(machine().mutex);
  lines.clear();
  for (const auto& sentence : machine().breaches) lines += (lines.empty() ? "" : "\n") + sentence;
  return lines.c_str();
}

void fake_breaches_clear() {
  trtserve::fake::graveyard().check();
  change([] { machine().breaches.clear(); });
}

void fake_device_hold() {
  change([] { machine().held = true; });
}

void fake_stream_hold(void* native_handle) {
  if (auto* stream = trtserve::fake::stream_of(native_handle)) stream->set_held(true);
}

void fake_device_release() {
  for (int device = 0; device < trtserve::fake::kMaxDevices; ++device) {
    for (auto* stream : trtserve::fake::stream_table().all(device)) stream->set_held(false);
  }
  change([] { machine().held = false; });
}

int64_t fake_device_pending() {
  const std::lock_guard lock(machine().mutex);
  return machine().pending;
}

void fake_device_await_pending(int64_t count) {
  std::unique_lock lock(machine().mutex);
  machine().changed.wait(lock, [&] { return machine().pending >= count; });
}

void fake_device_await_waiting(int64_t count) {
  std::unique_lock lock(machine().mutex);
  machine().changed.wait(lock, [&] { return machine().waiting >= count; });
}

int fake_busy_streams(int device) {
  const auto streams = trtserve::fake::stream_table().all(device);
  return static_cast<int>(
      std::count_if(streams.begin(), streams.end(), [](const auto* stream) { return !stream->idle(); }));
}

int fake_device_touched(int device) { return trtserve::fake::stream_table().touched(device) ? 1 : 0; }

void fake_capture_begin(void* native_handle) {
  if (auto* stream = trtserve::fake::stream_of(native_handle)) stream->begin_capture();
}

int64_t fake_capture_end(void* native_handle) {
  auto* stream = trtserve::fake::stream_of(native_handle);
  if (stream == nullptr) return 0;
  auto captured = stream->end_capture();
  const auto pieces = static_cast<int64_t>(captured.size());
  for (auto& work : captured) stream->enqueue(std::move(work));
  return pieces;
}
