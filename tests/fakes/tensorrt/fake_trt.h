#pragma once

#include <cstdint>

// What tests tell the fake TensorRT, and ask it. Breaches of contract are the fake device's to collect: see
// fake_breaches in its control.h. Thread safe.

#define FAKE_TRT_API __attribute__((visibility("default")))

extern "C" {
/// Calls so far of the method, function or callback of that name, for example "enqueueV3"; of a class's method of
/// a name that two have, both. "enqueueV3 on profile 1": executions of that profile, of all engines.
FAKE_TRT_API int64_t fake_trt_count(const char* function);
/// Objects that exist now: "runtime", "engine", "context", "inspector", "graph" or "graph_exec".
FAKE_TRT_API int64_t fake_trt_live(const char* what);
/// Bytes that are allocated now through the applications' allocators.
FAKE_TRT_API int64_t fake_trt_allocated();
/// Whether runtimes are created as on a machine without a driver: an error is logged and the pointer is garbage.
FAKE_TRT_API void fake_trt_driver_error(int on);
/// What getInferLibVersion() says from now on, as 110100; 0: the headers' version.
FAKE_TRT_API void fake_trt_version(int version);
}
