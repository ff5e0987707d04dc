#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include <c10/core/ScalarType.h>
#include <c10/util/ArrayRef.h>

#include "core/json_spans.h"

namespace trtserve {

/// Why a list of numbers is not the data of a tensor.
struct NumberListFault {
  enum Kind {
    Malformed,  ///< not a JSON list of numbers; `where` begins at what is wrong
    Nesting,    ///< not nested like the shape; `where` is the list or the number, at depth `index`
    Count,      ///< `index` elements, but the shape asks for another number
    Element,    ///< element `index`, at `where`, is not of the datatype
  } kind;
  size_t index = 0;
  Span where{0, 0};
};

/// Reads a list of numbers, flat or nested like `shape`, into the elements of a row-major tensor of `dtype`: bool, an
/// integer, float or double. A bool is true, false, 1 or 0. Whole numbers up to 2^53 may be written with a fraction or
/// an exponent. A float is rounded from the nearest double; it must be finite. `to`, of any alignment, has room for
/// `capacity` elements: further ones are only counted. Of several faults, returns the first in the order of
/// NumberListFault::Kind, then the first in the text. Source of the grammar: RFC 8259, sections 5 and 6.
std::optional<NumberListFault> read_number_list(std::string_view text, c10::IntArrayRef shape, c10::ScalarType dtype,
                                                void* to, size_t capacity);

}  // namespace trtserve
