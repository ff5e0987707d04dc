#pragma once

#include <cstdint>

/// Field numbers, by message: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
namespace trtserve::openvino {

namespace model_field {
constexpr uint32_t kIrVersion = 1;
constexpr uint32_t kGraph = 7;
constexpr uint32_t kOpsetImport = 8;
constexpr uint32_t kFunctions = 25;
}  // namespace model_field

namespace opset_field {
constexpr uint32_t kDomain = 1;
constexpr uint32_t kVersion = 2;
}  // namespace opset_field

namespace graph_field {
constexpr uint32_t kNode = 1;
constexpr uint32_t kInitializer = 5;
constexpr uint32_t kInput = 11;
constexpr uint32_t kOutput = 12;
constexpr uint32_t kSparseInitializer = 15;
}  // namespace graph_field

namespace node_field {
constexpr uint32_t kInput = 1;
constexpr uint32_t kOutput = 2;
constexpr uint32_t kName = 3;
constexpr uint32_t kOperator = 4;
constexpr uint32_t kAttribute = 5;
constexpr uint32_t kDomain = 7;
}  // namespace node_field

namespace attribute_field {
constexpr uint32_t kGraph = 6;
constexpr uint32_t kGraphs = 11;
}  // namespace attribute_field

namespace function_field {
constexpr uint32_t kName = 1;
constexpr uint32_t kDomain = 10;
}  // namespace function_field

namespace value_info_field {
constexpr uint32_t kName = 1;
constexpr uint32_t kType = 2;
}  // namespace value_info_field

namespace type_field {
constexpr uint32_t kTensor = 1;
constexpr uint32_t kDenotation = 6;
}  // namespace type_field

namespace tensor_type_field {
constexpr uint32_t kElementType = 1;
constexpr uint32_t kShape = 2;
}  // namespace tensor_type_field

namespace dimension_field {
constexpr uint32_t kValue = 1;
constexpr uint32_t kSymbol = 2;
}  // namespace dimension_field

namespace tensor_field {
constexpr uint32_t kDims = 1;
constexpr uint32_t kDataType = 2;
constexpr uint32_t kSegment = 3;
constexpr uint32_t kFloats = 4;
constexpr uint32_t kInt32s = 5;
constexpr uint32_t kStrings = 6;
constexpr uint32_t kInt64s = 7;
constexpr uint32_t kName = 8;
constexpr uint32_t kRaw = 9;
constexpr uint32_t kDoubles = 10;
constexpr uint32_t kUint64s = 11;
constexpr uint32_t kExternalData = 13;
constexpr uint32_t kDataLocation = 14;
}  // namespace tensor_field

namespace sparse_tensor_field {
constexpr uint32_t kValues = 1;
constexpr uint32_t kDims = 3;
}  // namespace sparse_tensor_field

}  // namespace trtserve::openvino
