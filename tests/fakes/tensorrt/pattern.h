#pragma once

#include <cstdint>

namespace trtserve::fake::trt {

// Memory that is filled with a pattern, to see later whether somebody else wrote there. All accesses are atomic:
// who else is there is a breach of contract, told as one, and not a data race of the fake's.

void fill(void* memory, int64_t bytes, uint64_t pattern);
/// Whether the pattern is still there.
bool filled(const void* memory, int64_t bytes, uint64_t pattern);

}  // namespace trtserve::fake::trt
