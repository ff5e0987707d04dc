#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>
#include <c10/util/ArrayRef.h>

#include "core/json_spans.h"

namespace trtserve {

/// A JSON document and what it has in common with others: everything but the lists of numbers that are the values of
/// keys "data", and the first plain string that is the value of a key "id".
struct CutJson {
  /// In `rest`, in place of a list and of the id (within its quotes). Neither occurs in valid JSON.
  static constexpr char kList = '\0';
  static constexpr char kId = '\1';

  std::string rest;
  std::vector<Span> lists;  ///< in the document's order; only read_lists() checks that they are lists of numbers
  std::optional<Span> id;   ///< all printable ASCII, not escaped
};

/// Cuts a document; nothing if it has more than `most_lists` lists, or more than `most_rest` bytes besides them. Two
/// documents of one `rest`, of which one is valid JSON, and whose lists are lists of numbers, are both valid and differ
/// only in these lists and the id.
std::optional<CutJson> cut_json(std::string_view document, size_t most_lists, size_t most_rest);

/// What a list of numbers is read into.
struct NumberTensor {
  c10::ScalarType dtype;
  std::vector<int64_t> shape;
  size_t elements;

  size_t bytes() const { return elements * c10::elementSize(dtype); }
};

/// True if lists of these lengths can have as many elements as `tensors`: one list for each.
bool may_fill(const CutJson& cut, c10::ArrayRef<NumberTensor> tensors);

/// Reads the lists into consecutive tensors from `to` on, as read_number_list() does; false if one is not that tensor's
/// data. `document` is the one that was cut, and may_fill() is true.
bool read_lists(const CutJson& cut, std::string_view document, c10::ArrayRef<NumberTensor> tensors, std::byte* to);

}  // namespace trtserve
