#pragma once

#include <cstdint>

namespace nvinfer1 {

/// nbDims is -1 for invalid dimensions.
class Dims64 {
 public:
  static constexpr int32_t MAX_DIMS{8};
  int32_t nbDims;
  int64_t d[MAX_DIMS];
};

using Dims = Dims64;

}  // namespace nvinfer1
