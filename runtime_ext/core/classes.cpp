#include "core/classes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numeric>
#include <type_traits>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "core/byte_strings.h"
#include "core/element_type.h"
#include "core/error.h"

namespace trtserve {

namespace {

constexpr int kDecimals = 6;
constexpr size_t kMostCharacters = 512;  // the greatest double has 309 digits before the point

/// Like for_element_type(), with the floats of 16 bits and without bool.
template <typename Run>
auto for_score_type(c10::ScalarType dtype, const Run& run) {
  switch (dtype) {
    case c10::ScalarType::Bool:
      fail(Kind::InvalidInput, "truth values have no greatest");
    case c10::ScalarType::Half:
      return run(std::type_identity<c10::Half>{});
    case c10::ScalarType::BFloat16:
      return run(std::type_identity<c10::BFloat16>{});
    default:
      return for_element_type(dtype, run);
  }
}

/// Reads an element at any address: outputs of a batch lie beside each other.
template <typename T>
T at(std::string_view data, size_t index) {
  T value;
  std::memcpy(&value, &data[index * sizeof(T)], sizeof(T));
  return value;
}

template <typename T>
bool is_nan(T value) {
  if constexpr (std::is_integral_v<T>) {
    return false;
  } else {
    return std::isnan(static_cast<double>(value));
  }
}

template <typename T>
void add_greatest(std::string_view part, size_t elements, size_t count, std::vector<size_t>& found) {
  std::vector<size_t> order(elements);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto comes_first = [part](size_t one, size_t other) {
    const T a = at<T>(part, one);
    const T b = at<T>(part, other);
    const bool a_is_nan = is_nan(a);
    if (a_is_nan != is_nan(b)) return !a_is_nan;
    if (a_is_nan || a == b) return one < other;
    return a > b;
  };
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(order.begin(), end, order.end(), comes_first);
  found.insert(found.end(), order.begin(), end);
}

/// The element as text.
template <typename T>
std::string score(std::string_view data, size_t index) {
  const T value = at<T>(data, index);
  if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else {
    std::array<char, kMostCharacters> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), static_cast<double>(value),
                                   std::chars_format::fixed, kDecimals);
    return {text.data(), end.ptr};
  }
}

}  // namespace

std::vector<size_t> greatest(c10::ScalarType dtype, std::string_view data, size_t items, size_t count) {
  std::vector<size_t> found;
  if (items == 0 || count == 0) return found;
  const size_t bytes = data.size() / items;
  const size_t elements = bytes / c10::elementSize(dtype);
  if (count > elements || bytes * items != data.size()) {
    fail(Kind::InvalidInput, "of ", items, " parts with ", elements, " elements, ", count, " of each are asked for");
  }
  for_score_type(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (size_t item = 0; item < items; ++item) {
      add_greatest<T>(data.substr(item * bytes, bytes), elements, count, found);
    }
  });
  return found;
}

std::string class_strings(c10::ScalarType dtype, std::string_view data, size_t items, const std::vector<size_t>& found,
                          const std::vector<std::optional<std::string_view>>& labels) {
  std::string strings;
  if (found.empty()) return strings;
  const size_t count = found.size() / items;
  const size_t elements = data.size() / c10::elementSize(dtype) / items;
  for_score_type(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (size_t i = 0; i < found.size(); ++i) {
      auto text = score<T>(data, i / count * elements + found[i]) + ":" + std::to_string(found[i]);
      if (!labels.empty() && labels[i]) text.append(":").append(*labels[i]);
      const size_t written = strings.size();
      strings.resize(written + byte_string_bytes(text));
      write_byte_string(text, &strings[written]);
    }
  });
  return strings;
}

}  // namespace trtserve
