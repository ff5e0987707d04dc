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
    Malformed,   ///< not a message of protobuf: what is at byte `index`
    OtherField,  ///< there are elements in the field of this number: `index`
    Element,     ///< element `index` is `value`, which the datatype does not hold
  } kind;
  size_t index = 0;
  int64_t value = 0;
};

/// Reads the elements of one field of a message InferTensorContents, packed or each with a tag, into those of a tensor
/// of `dtype` bool, an integer, float or double. `capacity` is the number of elements that `to` has room for: those
/// beyond it are counted only. Returns their number in `count`. Source: protobuf's "Encoding".
std::optional<ContentsFault> read_contents(std::string_view message, uint32_t field, c10::ScalarType dtype, void* to,
                                           size_t capacity, size_t& count);

}  // namespace trtserve
