#pragma once

#include <cstdint>

namespace trtserve::fake::trt {

// Fills memory with a pattern, to detect later whether another writer changed it. All accesses are atomic: a concurrent
// writer is a breach of contract, reported as one, and not a data race in the fake.

void fill(void* memory, int64_t bytes, uint64_t pattern);
/// True if the pattern is unchanged.
bool filled(const void* memory, int64_t bytes, uint64_t pattern);

}  // namespace trtserve::fake::trt
