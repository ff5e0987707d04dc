#include "core/number_text.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "core/element_type.h"
#include "core/shortest_decimal.h"

namespace trtserve {

namespace {

constexpr size_t kSlack = 32;  // characters behind the text that may be overwritten: short copies have fixed lengths
constexpr uint64_t kZeros = 0x3030303030303030;  // eight characters

/// Two digits of each number below 100.
constexpr auto kPairs = [] {
  std::array<char, 200> pairs{};
  for (size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

char* put(char* to, const char* text, size_t length) {
  std::memcpy(to, text, length);
  return to + length;
}

size_t count_digits(uint64_t number) {
  size_t digits = 1;
  for (; number >= 10'000; number /= 10'000) digits += 4;
  return digits + (number >= 10 ? 1 : 0) + (number >= 100 ? 1 : 0) + (number >= 1000 ? 1 : 0);
}

template <typename T>
char* put_integer(char* to, T number) {
  auto magnitude = static_cast<uint64_t>(static_cast<std::common_type_t<T, int>>(number));
  if constexpr (std::is_signed_v<T>) {
    if (number < 0) {
      *to++ = '-';
      magnitude = uint64_t{0} - magnitude;
    }
  }
  size_t digits = count_digits(magnitude);
  char* const end = to + digits;
  for (; digits >= 2; magnitude /= 100) {
    digits -= 2;
    std::memcpy(to + digits, kPairs.data() + 2 * (magnitude % 100), 2);
  }
  if (digits == 1) *to = static_cast<char>('0' + magnitude);
  return end;
}

/// The eight digits of a number, the first in the lowest byte: splits it into fours, pairs and digits, with one
/// multiplication each for all parts.
uint64_t eight_digits(uint32_t number) {
  uint64_t parts = number / 10'000 | static_cast<uint64_t>(number % 10'000) << 32;
  const uint64_t hundreds = (parts * 10486 >> 20) & 0x0000007F0000007F;  // parts / 100
  parts = ((parts - 100 * hundreds) << 16) + hundreds;
  const uint64_t tens = (parts * 103 >> 10) & 0x000F000F000F000F;  // parts / 10
  return ((parts - 10 * tens) << 8) + tens;
}

uint64_t digits_behind(float /*of*/, uint64_t number) { return eight_digits(static_cast<uint32_t>(number)); }

unsigned __int128 digits_behind(double /*of*/, uint64_t number) {
  const uint64_t first = eight_digits(static_cast<uint32_t>(number / 100'000'000));
  const uint64_t last = eight_digits(static_cast<uint32_t>(number % 100'000'000));
  return static_cast<unsigned __int128>(last) << 64 | first;
}

int zeros_at_end(uint64_t digits) { return std::countl_zero(digits) / 8; }

int zeros_at_end(unsigned __int128 digits) {
  const int zeros = zeros_at_end(static_cast<uint64_t>(digits >> 64));
  return zeros < 8 ? zeros : 8 + zeros_at_end(static_cast<uint64_t>(digits));
}

/// Writes a decimal that is not 0 with a point where that takes few zeros, otherwise with an exponent: 1200.0, 1.2,
/// 0.0012 or 1.2e-7. It only stores from registers: loads of what was just stored in other pieces would wait.
template <typename T>
char* put_decimal(char* to, const Decimal& decimal) {
  constexpr bool kIsFloat = std::is_same_v<T, float>;
  constexpr int kMostBefore = kIsFloat ? 13 : 16;  // digits before the point
  constexpr int kMostZeros = kIsFloat ? 5 : 4;     // between the point and the first digit
  constexpr int kBehind = kIsFloat ? 8 : 16;       // digits behind the first: there are at most 9, or 17
  constexpr uint64_t kFirst = kIsFloat ? 100'000'000 : 10'000'000'000'000'000;

  uint64_t number = decimal.digits;
  int exponent = decimal.exponent + kBehind;          // of the first digit
  const uint64_t is_short = number < kFirst ? 1 : 0;  // often; so there is no branch for one digit
  number += is_short * 9 * number;
  exponent -= static_cast<int>(is_short);
  for (; number < kFirst; number *= 10) --exponent;
  const auto digits = digits_behind(T{}, number % kFirst);
  const auto first = static_cast<char>('0' + number / kFirst);
  const int count = kBehind + 1 - zeros_at_end(digits);
  auto behind = digits | kZeros;  // as characters
  if constexpr (!kIsFloat) behind |= static_cast<unsigned __int128>(kZeros) << 64;

  if (exponent >= 0 && exponent + 1 < count) {
    *to = first;
    std::memcpy(to + 1, &behind, kBehind);
    to[exponent + 1] = '.';
    behind >>= 8 * exponent;
    std::memcpy(to + exponent + 2, &behind, kBehind);
    return to + count + 1;
  }
  if (exponent < 0 && -exponent - 1 <= kMostZeros) {
    to = put(to, "0.00000", 7) - 6 - exponent;
    *to = first;
    std::memcpy(to + 1, &behind, kBehind);
    return to + count;
  }
  *to = first;
  if (exponent >= 0 && exponent < kMostBefore) {
    std::memcpy(to + 1, &behind, kBehind);  // zeros too: there are as many digits before the point, or more
    if (exponent > kBehind) std::memset(to + 1 + kBehind, '0', static_cast<size_t>(exponent - kBehind));
    return put(to + exponent + 1, ".0", 2);
  }
  to[1] = '.';
  std::memcpy(to + 2, &behind, kBehind);
  to += count == 1 ? 1 : count + 1;
  *to++ = 'e';
  if (exponent >= 0) *to++ = '+';
  return put_integer(to, exponent);
}

template <typename T>
char* put_float(char* to, T value) {
  if (!std::isfinite(value)) return put(to, "null", 4);
  *to = '-';
  to += std::signbit(value) ? 1 : 0;
  value = std::abs(value);
  // Whole numbers are common. Up to here, each is its own shortest decimal.
  constexpr T kWhole = 10'000'000;
  if (value < kWhole) {
    const auto whole = static_cast<uint32_t>(value);
    if (static_cast<T>(whole) == value) return put(put_integer(to, whole), ".0", 2);
  }
  return put_decimal<T>(to, shortest_decimal(value));
}

template <typename T>
char* put_element(char* to, T element) {
  if constexpr (std::is_same_v<T, bool>) {
    return element ? put(to, "true", 4) : put(to, "false", 5);
  } else if constexpr (std::is_same_v<T, c10::Half> || std::is_same_v<T, c10::BFloat16>) {
    return put_float(to, static_cast<float>(element));
  } else if constexpr (std::is_floating_point_v<T>) {
    return put_float(to, element);
  } else {
    return put_integer(to, element);
  }
}

/// The most characters of an element.
template <typename T>
constexpr size_t longest() {
  if constexpr (std::is_same_v<T, bool>) {
    return 5;  // false
  } else if constexpr (std::is_integral_v<T>) {
    return std::numeric_limits<T>::digits10 + 2;
  } else {
    return std::is_same_v<T, double> ? 24 : 17;  // -1.7976931348623157e308, -0.0000123456789
  }
}

/// How the elements lie in memory: any byte may be a bool.
template <typename T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

template <typename T>
char* write(const void* data, size_t elements, char* to) {
  const auto* from = static_cast<const char*>(data);
  *to++ = '[';
  for (size_t i = 0; i < elements; ++i) {
    Stored<T> element;
    std::memcpy(&element, from, sizeof(element));  // of any alignment
    from += sizeof(element);
    to = put_element(to, static_cast<T>(element));
    *to++ = ',';
  }
  if (elements != 0) --to;  // the last comma
  *to++ = ']';
  return to;
}

template <typename Run>
auto for_written_type(c10::ScalarType dtype, const Run& run) {
  if (dtype == c10::ScalarType::Half) return run(std::type_identity<c10::Half>{});
  if (dtype == c10::ScalarType::BFloat16) return run(std::type_identity<c10::BFloat16>{});
  return for_element_type(dtype, run);
}

}  // namespace

size_t most_characters(c10::ScalarType dtype, size_t bytes) {
  return for_written_type(dtype, [&]<typename T>(std::type_identity<T> /*type*/) {
    return bytes / sizeof(T) * (longest<T>() + 1) + 2 + kSlack;
  });
}

char* write_number_list(c10::ScalarType dtype, const void* data, size_t bytes, char* to) {
  return for_written_type(
      dtype, [&]<typename T>(std::type_identity<T> /*type*/) { return write<T>(data, bytes / sizeof(T), to); });
}

}  // namespace trtserve
