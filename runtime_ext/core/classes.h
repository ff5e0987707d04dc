#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>

namespace trtserve {

/// For each of `items` equal parts of a tensor, the indices in the part of its `count` greatest elements, the greatest
/// first; of equal ones the first comes first, and NaN comes last. `count` is at most the number of elements of a part.
/// InvalidInput for a datatype that is no integer and no float.
std::vector<size_t> greatest(c10::ScalarType dtype, std::string_view data, size_t items, size_t count);

/// The element `index` of a tensor as Triton's classification extension writes it: a float with six decimals.
std::string class_score(c10::ScalarType dtype, std::string_view data, size_t index);

}  // namespace trtserve
