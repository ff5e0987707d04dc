#pragma once

#include <cstdint>

#include "nvinfer1/datatype.h"
#include "nvinfer1/dims.h"

namespace nvinfer1 {

enum class TensorIOMode : int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };

enum class TensorLocation : int32_t { kDEVICE = 0, kHOST = 1 };

enum class TensorFormat : int32_t {
  kLINEAR = 0,
  kCHW2 = 1,
  kHWC8 = 2,
  kCHW4 = 3,
  kCHW16 = 4,
  kCHW32 = 5,
  kDHWC8 = 6,
  kCDHW32 = 7,
  kHWC = 8,
  kDLA_LINEAR = 9,
  kDLA_HWC4 = 10,
  kHWC16 = 11,
};

}  // namespace nvinfer1
