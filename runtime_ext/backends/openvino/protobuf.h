#pragma once

#include <cstdint>
#include <string_view>

namespace trtserve::openvino {

/// How a field's value is written: https://protobuf.dev/programming-guides/encoding/. Groups (3 and 4) are not read.
enum class WireType : uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

struct Field {
  uint32_t number = 0;
  WireType type = WireType::Varint;
  uint64_t value = 0;      // of a varint
  std::string_view bytes;  // of all others, as they lie in the message
};

/// The fields of one protobuf message, in the order in which they are written. Reads nothing outside of the message
/// and allocates nothing. Not for use by several threads at a time.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  /// False at the end of the message. InvalidInput where the bytes are no protobuf.
  bool next();

  const Field& field() const { return field_; }

 private:
  std::string_view rest_;
  Field field_;
};

/// The bytes of the field of this number, which comes at most once; none where it does not come.
std::string_view bytes_of(std::string_view message, uint32_t number);

/// Takes a varint from the front of `bytes`, however many bytes it is padded to. InvalidInput where there is none.
uint64_t take_varint(std::string_view& bytes);

}  // namespace trtserve::openvino
