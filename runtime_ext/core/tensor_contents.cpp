#include "core/tensor_contents.h"

#include <cstring>
#include <limits>
#include <type_traits>

#include "core/byte_strings.h"
#include "core/element_type.h"
#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve {

namespace {

constexpr int kVarintBytes = 10;  // for at most 64 bits

/// Reads the elements into one type. Used once.
template <typename T>
class Reader {
 public:
  Reader(std::string_view message, uint32_t field, T* to, size_t capacity)
      : message_(message), field_(field), to_(to), capacity_(capacity) {}

  std::optional<ContentsFault> read() {
    while (at_ < message_.size()) {
      const size_t begin = at_;
      if (!read_field()) return other_ ? other_ : ContentsFault{ContentsFault::Malformed, begin, 0};
    }
    return element_;
  }

  size_t count() const { return count_; }

 private:
  static constexpr WireType kWireType = !std::is_floating_point_v<T> ? WireType::Varint
                                        : sizeof(T) == 4             ? WireType::Fixed32
                                                                     : WireType::Fixed64;

  /// False if the field is malformed or not the one that holds the elements.
  bool read_field() {
    uint64_t tag = 0;
    if (!read_varint(tag)) return false;
    if (tag >> 3 != field_) {
      if (tag >> 3 != 0) other_ = ContentsFault{ContentsFault::OtherField, static_cast<size_t>(tag >> 3), 0};
      return false;
    }
    const auto type = static_cast<WireType>(tag & 7);
    if (type == kWireType) return read_element(message_.size());
    uint64_t length = 0;
    if (type != WireType::Bytes || !read_varint(length) || length > message_.size() - at_) return false;
    const size_t end = at_ + length;
    while (at_ < end) {
      if (!read_element(end)) return false;
    }
    return true;
  }

  bool read_element(size_t end) {
    T element{};
    if constexpr (std::is_floating_point_v<T>) {
      if (end - at_ < sizeof(T)) return false;
      std::memcpy(&element, message_.data() + at_, sizeof(T));
      at_ += sizeof(T);
    } else {
      uint64_t number = 0;
      if (!read_varint(number) || at_ > end) return false;
      if (!convert(number, element) && !element_) {
        element_ = ContentsFault{ContentsFault::Element, count_, static_cast<int64_t>(number)};
      }
    }
    if (count_ < capacity_) to_[count_] = element;
    ++count_;
    return true;
  }

  static bool convert(uint64_t number, T& element) {
    if constexpr (std::is_same_v<T, bool>) {
      element = number != 0;
      return true;
    } else if constexpr (std::is_signed_v<T>) {
      const auto value = static_cast<int64_t>(number);
      element = static_cast<T>(value);
      return value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max();
    } else {
      element = static_cast<T>(number);
      return number <= std::numeric_limits<T>::max();
    }
  }

  bool read_varint(uint64_t& number) {
    number = 0;
    for (int place = 0; place < kVarintBytes && at_ < message_.size(); ++place) {
      const auto byte = static_cast<uint8_t>(message_[at_++]);
      number |= static_cast<uint64_t>(byte & 0x7F) << (7 * place);
      if (byte < 0x80) return true;
    }
    return false;
  }

  std::string_view message_;
  uint32_t field_;
  T* to_;
  size_t capacity_;
  size_t at_ = 0;
  size_t count_ = 0;
  std::optional<ContentsFault> other_;
  std::optional<ContentsFault> element_;
};

}  // namespace

std::optional<ContentsFault> read_contents(std::string_view message, uint32_t field, c10::ScalarType dtype, void* to,
                                           size_t capacity, size_t& count) {
  return for_element_type(dtype, [&]<typename T>(std::type_identity<T> /*type*/) {
    Reader<T> reader(message, field, static_cast<T*>(to), capacity);
    const auto fault = reader.read();
    count = reader.count();
    return fault;
  });
}

StringContents read_string_contents(std::string_view message, uint32_t field, char* to, size_t capacity) {
  StringContents read;
  Fields fields(message);
  const auto fault = [&](ContentsFault::Kind kind, size_t index) { read.fault = ContentsFault{kind, index, 0}; };
  try {
    while (fields.next()) {
      if (fields.field().number != field) {
        fault(ContentsFault::OtherField, fields.field().number);
        return read;
      }
      if (fields.field().type != WireType::Bytes) fail(Kind::InvalidInput, "an element is not a byte string");
      const auto element = fields.field().bytes;
      ++read.count;
      if (byte_string_bytes(element) > capacity - read.bytes) continue;
      read.bytes = static_cast<size_t>(write_byte_string(element, to + read.bytes) - to);
    }
  } catch (const Error&) {
    fault(ContentsFault::Malformed, message.size() - fields.rest().size());
  }
  return read;
}

}  // namespace trtserve
