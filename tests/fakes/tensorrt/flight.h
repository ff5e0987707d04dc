#pragma once

#include <atomic>
#include <cstdint>

#include "stream.h"

namespace trtserve::fake::trt {

/// The unfinished work of one execution context, and the scratch memory that it uses. Thread safe.
class Flight {
 public:
  /// Notes work on the stream until finish() of the returned number. Records a breach if the context has unfinished
  /// work on another stream, or if another context's unfinished work on another stream uses the scratch memory: nothing
  /// orders the two.
  uint64_t begin(const char* function, const Stream& stream, const void* scratch, int64_t scratch_bytes);
  void finish(uint64_t number);
  int unfinished() const;

  /// Notes that the context is destroyed: records a breach if work is unfinished, and for any later work.
  void end();

 private:
  std::atomic<bool> ended_{false};
};

}  // namespace trtserve::fake::trt
