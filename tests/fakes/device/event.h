#pragma once

#include <chrono>
#include <memory>

#include "stream.h"

namespace trtserve::fake {

/// One recording of an event: it is done once its stream has reached it.
struct Recording {
  explicit Recording(int of_device) : device(of_device) {}

  const int device;
  // Guarded by the machine's mutex, see machine.h.
  bool done = false;
  std::chrono::steady_clock::time_point when;
};

/// Implements c10::Event: keeps its latest recording. Thread safe.
class Event {
 public:
  void record(Stream& stream);
  /// Makes the stream wait for the latest recording.
  void block(Stream& stream) const;
  /// Both throw c10::Error if the device is broken.
  bool query() const;
  void synchronize() const;
  /// Milliseconds from this event to the later one; both must be done.
  double elapsed_until(const Event& later) const;

 private:
  std::shared_ptr<Recording> latest() const;

  std::shared_ptr<Recording> latest_;  // guarded by the machine's mutex
};

}  // namespace trtserve::fake
