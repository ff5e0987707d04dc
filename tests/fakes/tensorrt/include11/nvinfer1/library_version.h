#pragma once

#include "nvinfer1/interface.h"

extern "C" {
/// Returns (MAJOR * 100 + MINOR) * 100 + PATCH.
TENSORRTAPI int32_t getInferLibVersion() noexcept;
TENSORRTAPI int32_t getInferLibMajorVersion() noexcept;
TENSORRTAPI int32_t getInferLibMinorVersion() noexcept;
TENSORRTAPI int32_t getInferLibPatchVersion() noexcept;
TENSORRTAPI int32_t getInferLibBuildVersion() noexcept;
}
