#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace trtserve::fake {

/// The state that all streams of all devices share. One mutex and one condition for everything are slower than one
/// each, but there is no lock order to get wrong; speed does not matter here.
struct Machine {
  std::mutex mutex;
  std::condition_variable changed;  // notified at every change below and in every stream

  // Everything below is guarded by mutex.
  bool held = false;                       // no stream starts more work
  std::optional<std::thread::id> exiting;  // at exit, the thread that ends the process: nothing more starts
  std::map<int, std::string> broken;       // the reasons by device, while they are broken; kEveryDevice: all of them
  int devices = 1;
  int64_t pending = 0;  // pieces of work enqueued and unfinished
  int64_t waiting = 0;  // threads in wait_until()
  int64_t running = 0;  // items that streams' threads are running
  std::vector<std::string> breaches;
};

/// The only instance. Never destroyed: the streams' threads use it until the process ends.
Machine& machine();

inline constexpr int kMaxDevices = 120;
inline constexpr int kEveryDevice = -1;

int device_count();

/// Waits for a device until `holds()` is true for the machine's state. Throws c10::Error if the device is broken or
/// breaks during the wait. `lock` holds the mutex. At the process's exit nothing more happens: the exiting thread does
/// not wait, and waiting threads wait for ever, since Python would terminate a returning thread inside C++ frames,
/// which crashes the process.
void wait_until(std::unique_lock<std::mutex>& lock, int device, const std::function<bool()>& holds);

/// Keeps all streams from starting more work, and gives running work a moment to end. Longer work is left running, so
/// that the process does not hang at exit because a test left a gate shut.
void stop_for_exit();

}  // namespace trtserve::fake
