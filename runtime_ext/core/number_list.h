#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>
#include <c10/util/ArrayRef.h>

namespace trtserve {

/// A part of a JSON document, in bytes from its start.
struct Span {
  size_t begin;
  size_t end;
};

/// Where the lists of numbers lie that are the values of a key "data" and have at least so many characters, in the
/// order of the document, and at most so many of them. What lies there is not looked at: read_number_list() finds out
/// whether it is a list of numbers. If each is, then the document is JSON if and only if it is with any JSON value in
/// place of them. Takes a time linear in the document's length.
std::vector<Span> find_number_lists(std::string_view document, size_t least, size_t most);

/// Where the strings lie, without their quotes, that have at least so many characters, all of them printable ASCII and
/// none of them escaped: as a file in base64 is. The document is JSON if and only if it is with others in place of
/// them. Takes a time linear in the document's length.
std::vector<Span> find_plain_strings(std::string_view document, size_t least);

/// Why a list of numbers is not the data of a tensor.
struct NumberListFault {
  enum Kind {
    Malformed,  ///< not a JSON list of numbers; `where` begins at what is wrong
    Nesting,    ///< nested otherwise than the shape says; `where` is the list or the number, at depth `index`
    Count,      ///< another number of elements than the shape says: `index`
    Element,    ///< element `index`, which is at `where`, is none of the datatype
  } kind;
  size_t index = 0;
  Span where{0, 0};
};

/// Reads a list of numbers, flat or nested as `shape` says, into the elements of a tensor, row-major: of `dtype` bool,
/// an integer, float or double. A bool is true, false, 1 or 0. Whole numbers may be written with a fraction or an
/// exponent, up to 2^53. A float is rounded from the nearest double; it must be finite. `capacity` is the number of
/// elements that `to` has room for: those beyond it are counted only. Of several faults the first in the order of
/// NumberListFault::Kind is told, and then the first in the text. Source of the grammar: RFC 8259, sections 5 and 6.
std::optional<NumberListFault> read_number_list(std::string_view text, c10::IntArrayRef shape, c10::ScalarType dtype,
                                                void* to, size_t capacity);

}  // namespace trtserve
