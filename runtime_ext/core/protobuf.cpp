#include "core/protobuf.h"

#include <limits>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr unsigned kBitsOfByte = 7;
constexpr unsigned kMostShift = 63;  // for the tenth byte, which holds a single bit
constexpr uint8_t kMore = 0x80;

[[noreturn]] void damaged(const char* what) {
  fail(Kind::InvalidInput, "the plan is not an ONNX file, or it is cut off or damaged: ", what);
}

std::string_view take(std::string_view& bytes, uint64_t size) {
  if (size > bytes.size()) damaged("one of its parts is longer than the rest of the file");
  const auto taken = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return taken;
}

}  // namespace

uint64_t take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const auto shift = static_cast<unsigned>(i) * kBitsOfByte;
    if (shift > kMostShift || (shift == kMostShift && byte > 1)) damaged("a number in it has more than 64 bits");
    value |= static_cast<uint64_t>(byte & (kMore - 1)) << shift;
    if ((byte & kMore) == 0) {
      bytes.remove_prefix(i + 1);
      return value;
    }
  }
  damaged("it ends within a number");
}

std::string_view bytes_of(std::string_view message, uint32_t number) {
  for (Fields fields(message); fields.next();) {
    if (fields.field().number == number) return fields.field().bytes;
  }
  return {};
}

bool Fields::next() {
  if (rest_.empty()) return false;
  const uint64_t tag = take_varint(rest_);
  if (tag > std::numeric_limits<uint32_t>::max() || tag >> 3 == 0) damaged("it is not protobuf");
  field_ =
      Field{.number = static_cast<uint32_t>(tag >> 3), .type = static_cast<WireType>(tag & 7), .value = 0, .bytes = {}};
  switch (tag & 7) {
    case static_cast<uint64_t>(WireType::Varint):
      field_.value = take_varint(rest_);
      return true;
    case static_cast<uint64_t>(WireType::Fixed64):
      field_.bytes = take(rest_, sizeof(uint64_t));
      return true;
    case static_cast<uint64_t>(WireType::Bytes):
      field_.bytes = take(rest_, take_varint(rest_));
      return true;
    case static_cast<uint64_t>(WireType::Fixed32):
      field_.bytes = take(rest_, sizeof(uint32_t));
      return true;
    default:
      damaged("it has a field of a wire type that ONNX does not use");
  }
}

}  // namespace trtserve
