#pragma once

#include <string>

#include <NvInferRuntime.h>
#include <c10/core/ScalarType.h>

namespace trtserve::tensorrt {

/// Throws Unsupported, naming the tensor, for a type that no request can carry.
c10::ScalarType to_torch(nvinfer1::DataType type, const std::string& tensor_name);

}  // namespace trtserve::tensorrt
