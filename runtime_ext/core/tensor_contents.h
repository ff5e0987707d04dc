#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <c10/core/ScalarType.h>

namespace trtserve {

/// Why the fields of an InferTensorContents are not the data of a tensor.
struct ContentsFault {
  enum Kind {
    Malformed,   ///< not a valid protobuf message, at byte `index`
    OtherField,  ///< field number `index` also has elements
    Element,     ///< element `index` is `value`, which is outside the datatype's range
  } kind;
  size_t index = 0;
  int64_t value = 0;
};

/// Reads the elements of one field of an InferTensorContents message, packed or each with a tag, into `to`, a tensor of
/// `dtype`: bool, an integer, float or double. `to` has room for `capacity` elements: further ones are only counted.
/// Sets `count` to the number of elements. Source: protobuf's "Encoding".
std::optional<ContentsFault> read_contents(std::string_view message, uint32_t field, c10::ScalarType dtype, void* to,
                                           size_t capacity, size_t& count);

/// What read_string_contents() found.
struct StringContents {
  size_t count = 0;  ///< of elements
  size_t bytes = 0;  ///< that were written
  std::optional<ContentsFault> fault;
};

/// Writes the elements of a field of bytes as a BYTES tensor in the binary form at `to`, which has `capacity` bytes:
/// one that does not fit is only counted.
StringContents read_string_contents(std::string_view message, uint32_t field, char* to, size_t capacity);

}  // namespace trtserve
