#pragma once

#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime() is POSIX's

#include <cstdint>

namespace trtserve {

/// Milliseconds of a steady clock, exact to the kernel's tick of a few: it takes nanoseconds, so each step of a loop
/// may ask. Not for deadlines.
inline int64_t coarse_now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace trtserve
