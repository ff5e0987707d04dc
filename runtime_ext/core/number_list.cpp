#include "core/number_list.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/element_type.h"
#include "core/number_scanner.h"

namespace trtserve {

namespace {

constexpr double kLargestWhole = 9007199254740992.0;  // 2^53: up to here a double represents exactly one whole number

/// Converts the number to an element; false if the datatype cannot represent it.
template <typename T>
bool convert(const Number& number, T& element) {
  if constexpr (std::is_same_v<T, bool>) {
    if (number.form == Number::Real || !number.exact || number.magnitude > 1 ||
        (number.negative && number.magnitude == 1)) {
      return false;
    }
    element = number.magnitude == 1;
    return true;
  } else if (number.form == Number::Bool) {
    return false;
  } else if constexpr (std::is_floating_point_v<T>) {
    double value = number.value;
    if (number.form == Number::Integer && number.exact) {
      value = static_cast<double>(number.magnitude);
      if (number.negative && value != 0) value = -value;  // integers have no negative zero
    }
    element = static_cast<T>(value);
    return std::isfinite(element);
  } else {
    using Limits = std::numeric_limits<T>;
    if (number.form == Number::Real) {
      if (std::abs(number.value) > kLargestWhole || std::trunc(number.value) != number.value) return false;
      if (number.value < static_cast<double>(Limits::min()) || number.value > static_cast<double>(Limits::max())) {
        return false;
      }
      element = static_cast<T>(number.value);
      return true;
    }
    if (!number.exact) return false;
    if (number.negative) {
      const auto least = static_cast<uint64_t>(-(Limits::min() + 1)) + 1;
      if (number.magnitude > (std::is_signed_v<T> ? least : 0)) return false;
      element = static_cast<T>(uint64_t{0} - number.magnitude);
      return true;
    }
    if (number.magnitude > static_cast<uint64_t>(Limits::max())) return false;
    element = static_cast<T>(number.magnitude);
    return true;
  }
}

/// Reads a list into elements of one type. Used once.
template <typename T>
class Reader {
 public:
  Reader(std::string_view text, c10::IntArrayRef shape, void* to, size_t capacity)
      : scanner_(text),
        shape_(shape),
        to_(static_cast<std::byte*>(to)),
        capacity_(capacity),
        expected_(product(shape)) {}

  std::optional<NumberListFault> read() {
    scanner_.skip_blanks();
    if (scanner_.next() != '[') return malformed();
    if (!list(0)) return malformed();
    scanner_.skip_blanks();
    if (!scanner_.done()) return malformed();
    if (nesting_) return nesting_;
    if (count_ != expected_) return NumberListFault{NumberListFault::Count, count_, {}};
    return element_;
  }

 private:
  static size_t product(c10::IntArrayRef shape) {
    size_t elements = 1;
    for (const int64_t dim : shape) {
      if (__builtin_mul_overflow(elements, static_cast<size_t>(dim), &elements)) {
        elements = std::numeric_limits<size_t>::max();  // more than any text can have
      }
    }
    return elements;
  }

  NumberListFault malformed() const { return {NumberListFault::Malformed, 0, {scanner_.at(), scanner_.at()}}; }

  /// Reads the next list and everything in it, and notes its length and any faults. False if it is malformed. Reads
  /// levels deeper than the shape without recursion, so that no text exhausts the stack.
  bool list(size_t depth) {
    const size_t begin = scanner_.at();
    scanner_.step();
    scanner_.skip_blanks();
    size_t length = 0;
    if (scanner_.next() == ']') {
      scanner_.step();
      return close(depth, begin, length);
    }
    while (true) {
      ++length;
      if (scanner_.next() == '[') {
        if (!inner(depth)) return false;
      } else if (!element(depth)) {
        return false;
      }
      scanner_.skip_blanks();
      const char next = scanner_.next();
      if (next != ',' && next != ']') return false;
      scanner_.step();
      if (next == ']') return close(depth, begin, length);
      scanner_.skip_blanks();
    }
  }

  bool inner(size_t depth) {
    if (depth + 1 < shape_.size() && (count_ == 0 || nested_)) {
      nested_ = true;
      return list(depth + 1);
    }
    note_nesting(depth, scanner_.at());
    return skip_list();
  }

  /// Skips a list that should not be there.
  bool skip_list() {
    size_t open = 0;
    bool after_value = false;
    do {
      const char next = scanner_.next();
      if (next == '[' && !after_value) {
        ++open;
        scanner_.step();
        scanner_.skip_blanks();
        if (scanner_.next() != ']') continue;
        after_value = true;
      } else if (next == ']' && after_value) {
        --open;
        scanner_.step();
      } else if (next == ',' && after_value) {
        scanner_.step();
        scanner_.skip_blanks();
        after_value = false;
        continue;
      } else if (after_value) {
        return false;
      } else {
        Number number;
        if (!scanner_.read(number)) return false;
        after_value = true;
      }
      if (open != 0) scanner_.skip_blanks();
    } while (open != 0);
    return true;
  }

  bool element(size_t depth) {
    const size_t begin = scanner_.at();
    T element{};
    if (!read_plain(element)) {
      Number number;
      if (!scanner_.read(number)) return false;
      if (!convert(number, element) && !element_) {
        element_ = NumberListFault{NumberListFault::Element, count_, {begin, scanner_.at()}};
      }
    }
    // The list must be flat, or nested to the depth of the last dimension.
    if (nested_ ? depth + 1 != shape_.size() : depth != 0) note_nesting(depth, begin);
    if (count_ < capacity_) std::memcpy(to_ + count_ * sizeof(T), &element, sizeof(T));
    ++count_;
    return true;
  }

  bool read_plain(T& element) {
    if constexpr (std::is_floating_point_v<T>) {
      return scanner_.read_plain(element);
    } else {
      return false;
    }
  }

  bool close(size_t depth, size_t begin, size_t length) {
    if (nested_ && length != static_cast<size_t>(shape_[depth])) note_nesting(depth, begin);
    return true;
  }

  void note_nesting(size_t depth, size_t begin) {
    if (!nesting_) nesting_ = NumberListFault{NumberListFault::Nesting, depth, {begin, scanner_.at()}};
  }

  Scanner scanner_;
  c10::IntArrayRef shape_;
  std::byte* to_;  // of any alignment
  size_t capacity_;
  size_t expected_;
  size_t count_ = 0;     // elements so far
  bool nested_ = false;  // the outermost list contains lists
  std::optional<NumberListFault> nesting_;
  std::optional<NumberListFault> element_;
};

}  // namespace

std::optional<NumberListFault> read_number_list(std::string_view text, c10::IntArrayRef shape, c10::ScalarType dtype,
                                                void* to, size_t capacity) {
  return for_element_type(
      dtype, [&]<typename T>(std::type_identity<T> /*type*/) { return Reader<T>(text, shape, to, capacity).read(); });
}

}  // namespace trtserve
