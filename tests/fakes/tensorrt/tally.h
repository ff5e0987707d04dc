#pragma once

#include <cstdint>
#include <string>

namespace trtserve::fake::trt {

// The counts that fake_trt.h reports. Thread safe.

void count_call(const char* function);
void count_live(const char* what, int64_t change);
void count_allocated(int64_t change);

/// Counts an object of a kind during its lifetime.
class Live {
 public:
  explicit Live(const char* what) : what_(what) { count_live(what_, 1); }
  ~Live() { count_live(what_, -1); }
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

 private:
  const char* const what_;
};

}  // namespace trtserve::fake::trt
