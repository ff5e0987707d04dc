#include "backends/openvino/onnx_tensors.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "backends/openvino/onnx_fields.h"
#include "backends/openvino/shown.h"
#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve::openvino {

namespace {

using namespace tensor_field;

constexpr uint64_t kBitsOfByte = 8;
/// The largest file in bytes; its square fits into 64 bits. Types smaller than a byte are for weights, which are
/// smaller.
constexpr uint64_t kMostElements = uint64_t{1} << 31;
/// OpenVINO converts a sparse tensor to a dense one, which may be no larger than one that a file could hold.
constexpr uint64_t kMostSparseElements = uint64_t{1} << 28;

/// How the elements of a TensorProto.DataType are stored: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
struct Storage {
  uint64_t bits = 0;     // per element in raw_data; 0: not allowed in raw_data
  uint32_t field = 0;    // the field otherwise
  uint64_t entries = 1;  // entries for `elements` elements in that field
  uint64_t elements = 1;
};

/// By TensorProto.DataType; UNDEFINED is the first.
constexpr std::array<Storage, 29> kStorage = {{
    {},
    {32, kFloats},
    {8, kInt32s},
    {8, kInt32s},
    {16, kInt32s},
    {16, kInt32s},
    {32, kInt32s},
    {64, kInt64s},
    {0, kStrings},
    {8, kInt32s},
    {16, kInt32s},
    {64, kDoubles},
    {32, kUint64s},
    {64, kUint64s},
    {64, kFloats, 2},
    {128, kDoubles, 2},
    {16, kInt32s},
    {8, kInt32s},
    {8, kInt32s},
    {8, kInt32s},
    {8, kInt32s},
    {4, kInt32s, 1, 2},
    {4, kInt32s, 1, 2},
    {4, kInt32s, 1, 2},
    {8, kInt32s},
    {2, kInt32s, 1, 4},
    {2, kInt32s, 1, 4},
    {6, kInt32s},
    {6, kInt32s},
}};

/// A TensorProto's declaration, and how much data it holds.
struct Tensor {
  std::string_view name;
  uint64_t data_type = 0;
  uint64_t elements = 1;  // required by its dimensions
  bool wrong_dims = false;
  bool external = false;
  bool segmented = false;
  bool has_raw = false;
  uint64_t raw_bytes = 0;
  std::array<uint64_t, kUint64s + 1> entries{};  // per field that holds numbers or strings
};

uint64_t varints_in(std::string_view packed) {
  return static_cast<uint64_t>(
      std::count_if(packed.begin(), packed.end(), [](char byte) { return static_cast<uint8_t>(byte) < 0x80; }));
}

uint64_t entries_in(const Field& field) {
  if (field.type != WireType::Bytes || field.number == kStrings) return 1;
  if (field.number == kFloats) return field.bytes.size() / sizeof(float);
  if (field.number == kDoubles) return field.bytes.size() / sizeof(double);
  return varints_in(field.bytes);
}

/// Multiplies `elements` by a dimension; returns false if the dimension is negative or the product too large.
bool multiply(uint64_t dimension, uint64_t most, uint64_t& elements) {
  if (dimension > most) return false;  // a negative one too
  elements *= dimension;               // no overflow: both are at most `most`
  return elements <= most;
}

bool multiply_all(const Field& dims, uint64_t most, uint64_t& elements) {
  if (dims.type == WireType::Varint) return multiply(dims.value, most, elements);
  for (auto rest = dims.bytes; !rest.empty();) {
    if (!multiply(take_varint(rest), most, elements)) return false;
  }
  return true;
}

Tensor read_tensor(std::string_view message) {
  Tensor tensor;
  for (Fields fields(message); fields.next();) {
    const auto& field = fields.field();
    switch (field.number) {
      case kDims:
        tensor.wrong_dims |= !multiply_all(field, kMostElements, tensor.elements);
        break;
      case kDataType:
        tensor.data_type = field.value;
        break;
      case kSegment:
        tensor.segmented = true;
        break;
      case kName:
        tensor.name = field.bytes;
        break;
      case kRaw:
        tensor.has_raw = true;
        tensor.raw_bytes = field.bytes.size();
        break;
      case kExternalData:
        tensor.external = true;
        break;
      case kDataLocation:
        tensor.external |= field.value != 0;
        break;
      case kFloats:
      case kInt32s:
      case kStrings:
      case kInt64s:
      case kDoubles:
      case kUint64s:
        tensor.entries.at(field.number) += entries_in(field);
        break;
      default:
        break;
    }
  }
  return tensor;
}

/// Checks that a tensor holds exactly the data that its dimensions and type require: OpenVINO would read past the end
/// of shorter data, or treat a tensor without data as an input.
void check_size(const Tensor& tensor) {
  const auto name = shown(tensor.name);
  if (tensor.wrong_dims) {
    fail(Kind::InvalidInput, "the tensor '", name, "' of the ONNX file has dimensions that are negative or too large");
  }
  if (tensor.data_type == 0 || tensor.data_type >= kStorage.size()) {
    fail(Kind::Unsupported, "the tensor '", name, "' of the ONNX file has the data type ", tensor.data_type,
         ", but ONNX defines 1 to ", kStorage.size() - 1, ": export it again");
  }
  const auto& storage = kStorage.at(tensor.data_type);
  const uint64_t asked = (tensor.elements * storage.entries + storage.elements - 1) / storage.elements;
  const uint64_t bytes = (tensor.elements * storage.bits + kBitsOfByte - 1) / kBitsOfByte;
  uint64_t others = 0;
  for (uint32_t field = 0; field < tensor.entries.size(); ++field) {
    if (field != storage.field) others += tensor.entries.at(field);
  }
  const uint64_t held = tensor.entries.at(storage.field);
  const bool right = tensor.has_raw ? storage.bits != 0 && tensor.raw_bytes == bytes && held == 0 : held == asked;
  if (right && others == 0) return;
  fail(Kind::InvalidInput, "the tensor '", name, "' of the ONNX file does not hold the ", tensor.elements,
       tensor.elements == 1 ? " element" : " elements",
       " that its shape and type require: the file is damaged, or was exported without its weights. Export it again");
}

}  // namespace

void TensorCheck::tensor(std::string_view message) {
  if (message.empty()) return;  // some exporters write an empty tensor with each attribute
  const Tensor tensor = read_tensor(message);
  if (tensor.external) {
    fail(Kind::InvalidInput, "the data of the tensor '", shown(tensor.name),
         "' is not in the ONNX file but in another file, which is not uploaded with it: upload a zip or a tar of both "
         "files, or export with external_data=False (torch.onnx.export(…, external_data=False), or "
         "onnx.save_model(model, path) of a model that onnx.load has "
         "read)");
  }
  if (tensor.segmented) {
    fail(Kind::Unsupported, "the ONNX file contains only a segment of the tensor '", shown(tensor.name),
         "': export it whole");
  }
  check_size(tensor);
}

void TensorCheck::sparse_tensor(std::string_view message) {
  uint64_t elements = 1;
  for (Fields fields(message); fields.next();) {
    if (fields.field().number != sparse_tensor_field::kDims) continue;
    if (multiply_all(fields.field(), kMostSparseElements, elements)) continue;
    fail(Kind::InvalidInput, "the sparse tensor '",
         shown(bytes_of(bytes_of(message, sparse_tensor_field::kValues), kName)),
         "' of the ONNX file has dimensions that are negative or too large: no more than ", kMostSparseElements,
         " elements are allowed");
  }
}

}  // namespace trtserve::openvino
