#pragma once

#include <atomic>
#include <memory>

namespace trtserve::openvino {

/// Limits the threads that OpenVINO keeps for the streams of all engines together. Thread safe; it outlives what was
/// taken from it.
///
/// A compiled model with streams starts one thread for each, and one for callbacks, which only wait: an execution runs
/// in its caller's thread, and the streams only set how many run concurrently, and on how many cores each. So only a
/// few engines get streams, and the number of threads stays bounded for any number of engines.
class StreamThreads {
 public:
  explicit StreamThreads(int most) : left_(most) {}

  /// Takes the threads for `streams` streams until the last copy of the result is destroyed; null if too few are left.
  std::shared_ptr<const int> take(int streams);

 private:
  std::atomic<int> left_;
};

}  // namespace trtserve::openvino
