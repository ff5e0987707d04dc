#pragma once

#include <cstdint>

// The controls of the fake TensorRT for tests. The fake device collects breaches of contract: see fake_breaches in its
// control.h. Thread safe.

#define FAKE_TRT_API __attribute__((visibility("default")))

extern "C" {
/// The number of calls so far of the method, function or callback of that name, for example "enqueueV3"; methods of
/// different classes with the same name count together. "enqueueV3 on profile 1": executions of that profile, of all
/// engines.
FAKE_TRT_API int64_t fake_trt_count(const char* function);
/// The number of existing objects: "runtime", "engine", "context", "inspector", "graph" or "graph_exec".
FAKE_TRT_API int64_t fake_trt_live(const char* what);
/// Bytes that are now allocated through the applications' allocators.
FAKE_TRT_API int64_t fake_trt_allocated();
/// If on, creating a runtime behaves like on a machine without a driver: it logs an error and returns garbage.
FAKE_TRT_API void fake_trt_driver_error(int on);
/// Sets the result of getInferLibVersion(), such as 110100; 0: the headers' version.
FAKE_TRT_API void fake_trt_version(int version);
}
