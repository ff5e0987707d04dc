#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace trtserve {

inline constexpr int kMostDigits = 19;  // always fit into 64 bits

/// The powers of ten that a double represents exactly.
inline constexpr std::array kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/// Powers of ten as whole numbers, up to eight digits.
inline constexpr std::array<uint64_t, 9> kWholePowers = {1,       10,        100,        1'000,      10'000,
                                                         100'000, 1'000'000, 10'000'000, 100'000'000};

inline bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

inline constexpr size_t kEight = 8;  // characters that are read at once

inline uint64_t load_eight(const char* text) {
  uint64_t eight = 0;
  std::memcpy(&eight, text, sizeof(eight));
  return eight;
}

/// How many of the eight characters are digits before the first that is not.
inline size_t leading_digits(uint64_t eight) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  const uint64_t differ = eight ^ 0x3030303030303030;  // a digit's value, or more than 9
  const uint64_t others = (((differ & ~kHighBits) + 0x7676767676767676) | differ) & kHighBits;
  return static_cast<size_t>(std::countr_zero(others)) / 8;
}

/// Converts eight digits, the first in the lowest byte, to their number: joins pairs, then fours, then all, with one
/// multiplication each.
constexpr uint64_t value_of_digits(uint64_t eight) {
  eight = (eight & 0x0F0F0F0F0F0F0F0F) * 2561 >> 8;
  eight = (eight & 0x00FF00FF00FF00FF) * 6553601 >> 16;
  return (eight & 0x0000FFFF0000FFFF) * 42949672960001 >> 32;
}

}  // namespace trtserve
