#pragma once

#include <cstdint>
#include <string_view>

namespace trtserve::openvino {

/// The messages of an ONNX file: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
enum class Message : uint8_t {
  Model,
  Graph,
  Node,
  Attribute,
  Tensor,
  Segment,
  SparseTensor,
  ValueInfo,
  Type,
  TensorType,
  SequenceType,
  MapType,
  OptionalType,
  OpaqueType,
  Shape,
  Dimension,
  OperatorSet,
  Function,
  TrainingInfo,
  TextPair,
  TensorAnnotation,
  DeviceConfiguration,
  NodeDeviceConfiguration,
  Sharding,
  IndexGroup,
  ShardedDimension,
  SimpleSharding,
};

/// Called with each TensorProto and SparseTensorProto of a file, wherever it is.
class TensorVisitor {
 public:
  virtual ~TensorVisitor() = default;
  virtual void tensor(std::string_view message) = 0;
  virtual void sparse_tensor(std::string_view message) = 0;
};

/// Checks that a file is one ModelProto of known fields, written as exporters write it: each field at most once unless
/// it is repeated, one member of a choice, nested no deeper than protobuf itself reads. All protobuf readers, including
/// our simple sequential ones, then interpret the file the same way. Takes time linear in the file's size, and no
/// memory. InvalidInput otherwise.
void check_messages(std::string_view file, TensorVisitor& visitor);

}  // namespace trtserve::openvino
