#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace trtserve::fake {

/// What all streams of all devices share. One mutex and one condition for everything is slower than one each,
/// and leaves no order of locks to get wrong; nothing here is in a hurry.
struct Machine {
  std::mutex mutex;
  std::condition_variable changed;  // notified at every change below and of every stream

  // All that follows is guarded by mutex.
  bool held = false;                       // no stream begins a piece of work
  std::optional<std::thread::id> exiting;  // the thread that ends the process, at its exit: nothing runs again
  std::optional<std::string> broken;       // the reason, while the device is broken
  int devices = 1;
  int64_t pending = 0;  // pieces of work enqueued and unfinished
  int64_t waiting = 0;  // threads that wait in wait_until()
  int64_t running = 0;  // items that a stream's thread is at
  std::vector<std::string> breaches;
};

/// The one there is. Never destroyed: the streams' threads look at it until the process ends.
Machine& machine();

inline constexpr int kMaxDevices = 16;

int device_count();

/// Waits until `holds`, which sees the machine's state. Throws c10::Error when the device is broken, before or
/// while it waits. `lock` is on the mutex. At the process's exit nothing will happen any more: the thread that
/// ends the process does not wait, and one that waits is left at it, since a thread of Python's that came back
/// then would be ended in the midst of C++ frames, which ends the process badly.
void wait_until(std::unique_lock<std::mutex>& lock, const std::function<bool()>& holds);

/// Lets no stream begin anything more, and gives what is being run a moment to end. What runs longer is left
/// running: the process is not to hang at its exit because a test left a gate shut.
void stop_for_exit();

}  // namespace trtserve::fake
