#pragma once

#include <cstdint>

/// Numbers of fields, from onnx.proto.
namespace trtserve::tensorrt {

constexpr uint32_t kModelGraph = 7;
constexpr uint32_t kModelFunctions = 25;
constexpr uint32_t kGraphNode = 1;
constexpr uint32_t kFunctionNode = 7;
constexpr uint32_t kNodeInput = 1;
constexpr uint32_t kNodeName = 3;
constexpr uint32_t kNodeOperation = 4;
constexpr uint32_t kNodeAttribute = 5;
constexpr uint32_t kNodeDomain = 7;
constexpr uint32_t kAttributeName = 1;
constexpr uint32_t kAttributeInt = 3;
constexpr uint32_t kAttributeString = 4;
constexpr uint32_t kAttributeGraph = 6;
constexpr uint32_t kAttributeGraphs = 11;
constexpr uint32_t kTensorExternalData = 13;

}  // namespace trtserve::tensorrt
