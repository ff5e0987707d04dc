#include "backends/openvino/onnx_messages.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve::openvino {

namespace {

/// A field's type, as far as it matters for reading the file.
enum class Holds : uint8_t { Int32, Int64, Float, Double, Bytes, Message };

enum class Times : uint8_t { Once, Repeated, Choice };  // Choice: at most one of the message's choices, once

struct KnownField {
  uint32_t number;
  Holds holds;
  Times times = Times::Once;
  Message message = Message::Model;  // if it holds a Message
};

struct KnownMessage {
  std::string_view name;
  std::vector<KnownField> fields;
};

/// protobuf's default limit on nesting.
constexpr int kDeepest = 100;
constexpr size_t kMostFields = 32;  // per message

constexpr auto kMany = Times::Repeated;
constexpr auto kChoice = Times::Choice;

constexpr KnownField bytes(uint32_t number, Times times = Times::Once) { return {number, Holds::Bytes, times}; }
constexpr KnownField int32(uint32_t number, Times times = Times::Once) { return {number, Holds::Int32, times}; }
constexpr KnownField int64(uint32_t number, Times times = Times::Once) { return {number, Holds::Int64, times}; }
constexpr KnownField part(uint32_t number, Message message, Times times = Times::Once) {
  return {number, Holds::Message, times, message};
}

/// In the order of Message. Exporters still write two fields of FunctionProto that onnx.proto has dropped (2 and 3).
const std::vector<KnownMessage>& known_messages() {
  static const std::vector<KnownMessage> kMessages = {
      {"ModelProto",
       {int64(1), bytes(2), bytes(3), bytes(4), int64(5), bytes(6), part(7, Message::Graph),
        part(8, Message::OperatorSet, kMany), part(14, Message::TextPair, kMany),
        part(20, Message::TrainingInfo, kMany), part(25, Message::Function, kMany),
        part(26, Message::DeviceConfiguration, kMany)}},
      {"GraphProto",
       {part(1, Message::Node, kMany), bytes(2), part(5, Message::Tensor, kMany), bytes(10),
        part(11, Message::ValueInfo, kMany), part(12, Message::ValueInfo, kMany), part(13, Message::ValueInfo, kMany),
        part(14, Message::TensorAnnotation, kMany), part(15, Message::SparseTensor, kMany),
        part(16, Message::TextPair, kMany)}},
      {"NodeProto",
       {bytes(1, kMany), bytes(2, kMany), bytes(3), bytes(4), part(5, Message::Attribute, kMany), bytes(6), bytes(7),
        bytes(8), part(9, Message::TextPair, kMany), part(10, Message::NodeDeviceConfiguration, kMany)}},
      {"AttributeProto",
       {bytes(1),
        {2, Holds::Float},
        int64(3),
        bytes(4),
        part(5, Message::Tensor),
        part(6, Message::Graph),
        {7, Holds::Float, kMany},
        int64(8, kMany),
        bytes(9, kMany),
        part(10, Message::Tensor, kMany),
        part(11, Message::Graph, kMany),
        bytes(13),
        part(14, Message::Type),
        part(15, Message::Type, kMany),
        int32(20),
        bytes(21),
        part(22, Message::SparseTensor),
        part(23, Message::SparseTensor, kMany)}},
      {"TensorProto",
       {int64(1, kMany),
        int32(2),
        part(3, Message::Segment),
        {4, Holds::Float, kMany},
        int32(5, kMany),
        bytes(6, kMany),
        int64(7, kMany),
        bytes(8),
        bytes(9),
        {10, Holds::Double, kMany},
        int64(11, kMany),
        bytes(12),
        part(13, Message::TextPair, kMany),
        int32(14),
        part(16, Message::TextPair, kMany)}},
      {"TensorProto.Segment", {int64(1), int64(2)}},
      {"SparseTensorProto", {part(1, Message::Tensor), part(2, Message::Tensor), int64(3, kMany)}},
      {"ValueInfoProto", {bytes(1), part(2, Message::Type), bytes(3), part(4, Message::TextPair, kMany)}},
      {"TypeProto",
       {part(1, Message::TensorType, kChoice), part(4, Message::SequenceType, kChoice),
        part(5, Message::MapType, kChoice), bytes(6), part(7, Message::OpaqueType, kChoice),
        part(8, Message::TensorType, kChoice), part(9, Message::OptionalType, kChoice)}},
      {"TypeProto.Tensor", {int32(1), part(2, Message::Shape)}},
      {"TypeProto.Sequence", {part(1, Message::Type)}},
      {"TypeProto.Map", {int32(1), part(2, Message::Type)}},
      {"TypeProto.Optional", {part(1, Message::Type)}},
      {"TypeProto.Opaque", {bytes(1), bytes(2)}},
      {"TensorShapeProto", {part(1, Message::Dimension, kMany)}},
      {"TensorShapeProto.Dimension", {int64(1, kChoice), bytes(2, kChoice), bytes(3)}},
      {"OperatorSetIdProto", {bytes(1), int64(2)}},
      {"FunctionProto",
       {bytes(1), int64(2), int32(3), bytes(4, kMany), bytes(5, kMany), bytes(6, kMany), part(7, Message::Node, kMany),
        bytes(8), part(9, Message::OperatorSet, kMany), bytes(10), part(11, Message::Attribute, kMany),
        part(12, Message::ValueInfo, kMany), bytes(13), part(14, Message::TextPair, kMany)}},
      {"TrainingInfoProto",
       {part(1, Message::Graph), part(2, Message::Graph), part(3, Message::TextPair, kMany),
        part(4, Message::TextPair, kMany)}},
      {"StringStringEntryProto", {bytes(1), bytes(2)}},
      {"TensorAnnotation", {bytes(1), part(2, Message::TextPair, kMany)}},
      {"DeviceConfigurationProto", {bytes(1), int32(2), bytes(3, kMany)}},
      {"NodeDeviceConfigurationProto", {bytes(1), part(2, Message::Sharding, kMany), int32(3)}},
      {"ShardingSpecProto",
       {bytes(1), int64(2, kMany), part(3, Message::IndexGroup, kMany), part(4, Message::ShardedDimension, kMany)}},
      {"IntIntListEntryProto", {int64(1), int64(2, kMany)}},
      {"ShardedDimProto", {int64(1), part(2, Message::SimpleSharding, kMany)}},
      {"SimpleShardedDimProto", {int64(1, kChoice), bytes(2, kChoice), int64(3)}},
  };
  return kMessages;
}

const KnownMessage& known(Message message) { return known_messages().at(static_cast<size_t>(message)); }

/// The fields of one message seen so far.
class Seen {
 public:
  explicit Seen(const KnownMessage& message) : message_(message) {}

  void add(size_t index) {
    const auto& field = message_.fields[index];
    if (field.times == Times::Repeated) return;
    bool& seen = field.times == Times::Choice ? choice_ : once_.at(index);
    if (seen) {
      fail(Kind::InvalidInput, "the ONNX file is damaged or made to deceive: field ", field.number, " of a ",
           message_.name,
           field.times == Times::Choice ? " comes together with another field that excludes it"
                                        : " comes twice, which no exporter writes");
    }
    seen = true;
  }

 private:
  const KnownMessage& message_;
  std::array<bool, kMostFields> once_{};
  bool choice_ = false;
};

[[noreturn]] void wrong_type(const KnownMessage& message, const KnownField& known) {
  fail(Kind::InvalidInput, "the ONNX file is damaged: field ", known.number, " of a ", message.name,
       " does not have the encoding of its type");
}

/// Repeated numbers may be packed into any number of fields; single ones may not.
void check_value(const Field& field, const KnownField& known, const KnownMessage& message) {
  const bool packed = field.type == WireType::Bytes && known.times == Times::Repeated;
  switch (known.holds) {
    case Holds::Bytes:
    case Holds::Message:
      if (field.type != WireType::Bytes) wrong_type(message, known);
      return;
    case Holds::Float:
      if (field.type == WireType::Fixed32 || (packed && field.bytes.size() % sizeof(float) == 0)) return;
      wrong_type(message, known);
    case Holds::Double:
      if (field.type == WireType::Fixed64 || (packed && field.bytes.size() % sizeof(double) == 0)) return;
      wrong_type(message, known);
    case Holds::Int32:
    case Holds::Int64:
      if (packed) {
        for (auto rest = field.bytes; !rest.empty();) take_varint(rest);
        return;
      }
      if (field.type != WireType::Varint) wrong_type(message, known);
      // A value that does not fit is truncated by one protobuf reader and ignored by another.
      const auto value = static_cast<int64_t>(field.value);
      if (known.holds == Holds::Int32 && value != static_cast<int32_t>(value)) wrong_type(message, known);
  }
}

class Checker {
 public:
  explicit Checker(TensorVisitor& visitor) : visitor_(visitor) {}

  void check(std::string_view bytes, Message message, int depth) {
    const auto& known_message = known(message);
    if (depth > kDeepest) {
      fail(Kind::InvalidInput, "the ONNX file nests its graphs or types more than ", kDeepest,
           " messages deep, which is beyond protobuf's limit");
    }
    Seen seen(known_message);
    for (Fields fields(bytes); fields.next();) {
      const auto& field = fields.field();
      const auto found = std::find_if(known_message.fields.begin(), known_message.fields.end(),
                                      [&](const KnownField& one) { return one.number == field.number; });
      if (found == known_message.fields.end()) {
        fail(Kind::InvalidInput, "the ONNX file is damaged, or newer than this server supports: a ", known_message.name,
             " has a field ", field.number, ", which is not known");
      }
      check_value(field, *found, known_message);
      seen.add(static_cast<size_t>(found - known_message.fields.begin()));
      if (found->holds == Holds::Message) check(field.bytes, found->message, depth + 1);
    }
    if (message == Message::Tensor) visitor_.tensor(bytes);
    if (message == Message::SparseTensor) visitor_.sparse_tensor(bytes);
  }

 private:
  TensorVisitor& visitor_;
};

}  // namespace

void check_messages(std::string_view file, TensorVisitor& visitor) { Checker(visitor).check(file, Message::Model, 1); }

}  // namespace trtserve::openvino
