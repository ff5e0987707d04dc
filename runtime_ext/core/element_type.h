#pragma once

#include <cstdint>
#include <type_traits>

#include <c10/core/ScalarType.h>

#include "core/error.h"

namespace trtserve {

/// Calls `run` with std::type_identity<T>, where T is the C++ type of a tensor's elements: bool, an integer, float or
/// double. Throws InvalidInput for any other type.
template <typename Run>
auto for_element_type(c10::ScalarType dtype, const Run& run) {
  switch (dtype) {
    case c10::ScalarType::Bool:
      return run(std::type_identity<bool>{});
    case c10::ScalarType::Byte:
      return run(std::type_identity<uint8_t>{});
    case c10::ScalarType::UInt16:
      return run(std::type_identity<uint16_t>{});
    case c10::ScalarType::UInt32:
      return run(std::type_identity<uint32_t>{});
    case c10::ScalarType::UInt64:
      return run(std::type_identity<uint64_t>{});
    case c10::ScalarType::Char:
      return run(std::type_identity<int8_t>{});
    case c10::ScalarType::Short:
      return run(std::type_identity<int16_t>{});
    case c10::ScalarType::Int:
      return run(std::type_identity<int32_t>{});
    case c10::ScalarType::Long:
      return run(std::type_identity<int64_t>{});
    case c10::ScalarType::Float:
      return run(std::type_identity<float>{});
    case c10::ScalarType::Double:
      return run(std::type_identity<double>{});
    default:
      fail(Kind::InvalidInput, "numbers cannot be read as ", dtype);
  }
}

}  // namespace trtserve
