#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>

namespace trtserve {

/// For each of `items` equal parts of a tensor, the indices in the part of its `count` greatest elements, the greatest
/// first; of equal ones the first comes first, and NaN comes last. `count` is at most the number of elements of a part.
/// InvalidInput for a datatype that is no integer and no float.
std::vector<size_t> greatest(c10::ScalarType dtype, std::string_view data, size_t items, size_t count);

/// What greatest() found, as the elements of a BYTES tensor in the binary form: "score:index", and ":label" where
/// `labels`, one for each that was found or none at all, has one. A float has six decimals, as in Triton's
/// classification extension.
std::string class_strings(c10::ScalarType dtype, std::string_view data, size_t items, const std::vector<size_t>& found,
                          const std::vector<std::optional<std::string_view>>& labels);

}  // namespace trtserve
