#pragma once

#include "nvinfer1/interface.h"

extern "C" {
/// Returns MAJOR * 1000 + MINOR * 100 + PATCH.
TENSORRTAPI int32_t getInferLibVersion() noexcept;
}
