#pragma once

#include <cstdint>

namespace nvinfer1 {

/// nbDims is -1 for invalid dimensions.
class Dims32 {
 public:
  static constexpr int32_t MAX_DIMS{8};
  int32_t nbDims;
  int32_t d[MAX_DIMS];
};

using Dims = Dims32;

}  // namespace nvinfer1
