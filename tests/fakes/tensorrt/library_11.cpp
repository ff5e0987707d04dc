#include <NvInferRuntime.h>

// The functions of the library that TensorRT 8 does not have.

int32_t getInferLibMajorVersion() noexcept { return getInferLibVersion() / 10000; }
int32_t getInferLibMinorVersion() noexcept { return getInferLibVersion() / 100 % 100; }
int32_t getInferLibPatchVersion() noexcept { return getInferLibVersion() % 100; }
int32_t getInferLibBuildVersion() noexcept { return NV_TENSORRT_BUILD; }
