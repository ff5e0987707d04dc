#pragma once

// The controls of the fake builder for tests, beside those of fake_trt.h. It counts "builder", "network", "parser",
// "config", "timing_cache" and "host_memory" objects, and "warm builds": those that had a timing cache of builds
// before.

#define FAKE_TRT_API __attribute__((visibility("default")))

extern "C" {
/// The GPU that timing caches are made for from now on.
FAKE_TRT_API void fake_trt_gpu(int gpu);
/// Creates the parser of a network; the library of the parser passes this on.
FAKE_TRT_API void* fake_trt_create_parser(void* network, void* logger, int version);
}
