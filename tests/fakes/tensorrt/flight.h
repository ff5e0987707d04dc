#pragma once

#include <atomic>
#include <cstdint>

#include "stream.h"

namespace trtserve::fake::trt {

/// The unfinished work of one execution context, and the scratch memory that it uses. Thread safe.
class Flight {
 public:
  /// Work is enqueued on the stream from now on, until finish() of the number that this returns. A breach where
  /// the context has unfinished work on another stream, or its scratch memory is in use by another context's
  /// unfinished work on another stream: nothing puts the two in an order.
  uint64_t begin(const char* function, const Stream& stream, const void* scratch, int64_t scratch_bytes);
  void finish(uint64_t number);
  int unfinished() const;

  /// The context is destroyed: a breach where work is unfinished, and wherever more begins.
  void end();

 private:
  std::atomic<bool> ended_{false};
};

}  // namespace trtserve::fake::trt
