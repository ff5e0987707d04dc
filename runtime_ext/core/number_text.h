#pragma once

#include <cstddef>

#include <c10/core/ScalarType.h>

namespace trtserve {

/// The room, in characters, that write_number_list() may need for a tensor of `bytes` bytes.
size_t most_characters(c10::ScalarType dtype, size_t bytes);

/// Writes the elements of a tensor at `to` as a flat JSON list, and returns its end. A float is the shortest decimal
/// that is read as the same float; those of 16 bits (bfloat16 too) are written as those of 32. Infinities and NaN,
/// which JSON does not have, are null. InvalidInput if `dtype` is not bool, an integer or a float.
char* write_number_list(c10::ScalarType dtype, const void* data, size_t bytes, char* to);

}  // namespace trtserve
