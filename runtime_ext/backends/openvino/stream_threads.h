#pragma once

#include <atomic>
#include <memory>

namespace trtserve::openvino {

/// How many threads OpenVINO may keep for the streams of all engines together. Thread safe; it outlives all that was
/// taken from it.
///
/// A compiled model with streams starts a thread for each, and one for callbacks, that only wait: an execution runs in
/// the thread that asks for it, and the streams say how many may run at once, and on how many cores each. So a few
/// engines get streams, and the number of threads stays bounded however many engines there are.
class StreamThreads {
 public:
  explicit StreamThreads(int most) : left_(most) {}

  /// The threads of so many streams, until the last copy of what is returned has gone; null where they are not left.
  std::shared_ptr<const int> take(int streams);

 private:
  std::atomic<int> left_;
};

}  // namespace trtserve::openvino
