#pragma once

#include <cstdint>
#include <string_view>

namespace trtserve {

/// How a field's value is encoded: https://protobuf.dev/programming-guides/encoding/. Groups (3 and 4) are not
/// supported.
enum class WireType : uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

struct Field {
  uint32_t number = 0;
  WireType type = WireType::Varint;
  uint64_t value = 0;      // a varint's value
  std::string_view bytes;  // other values, as encoded in the message
};

/// Iterates over the fields of one protobuf message in order. Reads nothing outside the message and allocates nothing.
/// Not thread safe.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  /// Moves to the next field; returns false at the end of the message. InvalidInput if the bytes are not protobuf.
  bool next();

  const Field& field() const { return field_; }
  /// The message behind the current field.
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  Field field_;
};

/// The bytes of the field with this number, which occurs at most once; empty if it is absent.
std::string_view bytes_of(std::string_view message, uint32_t number);

/// Removes a varint, possibly padded, from the front of `bytes` and returns it. InvalidInput if there is none.
uint64_t take_varint(std::string_view& bytes);

}  // namespace trtserve
