#include "core/number_list.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/element_type.h"

namespace trtserve {

namespace {

constexpr double kLargestWhole = 9007199254740992.0;  // 2^53: up to here a double represents exactly one whole number
constexpr int kMostDigits = 19;                       // always fit into 64 bits

/// The powers of ten that a double represents exactly.
constexpr std::array kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

/// True if all eight characters are digits (0x30 to 0x39).
bool are_digits(uint64_t eight) {
  return ((eight & 0xF0F0F0F0F0F0F0F0) | (((eight + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0) >> 4)) ==
         0x3333333333333333;
}

/// Converts eight digits, the first in the lowest byte, to their number: joins pairs, then fours, then all, with one
/// multiplication each.
uint64_t value_of_digits(uint64_t eight) {
  eight = (eight & 0x0F0F0F0F0F0F0F0F) * 2561 >> 8;
  eight = (eight & 0x00FF00FF00FF00FF) * 6553601 >> 16;
  return (eight & 0x0000FFFF0000FFFF) * 42949672960001 >> 32;
}

/// One element as written.
struct Number {
  enum { Integer, Real, Bool } form = Integer;
  bool negative = false;
  bool exact = true;       ///< `magnitude` holds all of its digits
  uint64_t magnitude = 0;  ///< the value of an Integer, or the digits of a Real
  double value = 0;        ///< of a Real, or of an Integer that is not exact
};

/// Reads JSON's numbers, true and false. Not thread safe.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  size_t at() const { return at_; }
  bool done() const { return at_ == text_.size(); }
  /// The next character; 0 at the end.
  char next() const { return done() ? '\0' : text_[at_]; }
  void step() { ++at_; }
  void skip_blanks() { at_ = trtserve::skip_blanks(text_, at_); }

  /// False unless a number, true or false comes next; at() is then the position of the fault.
  bool read(Number& number) {
    if (next() == 't') return word("true", true, number);
    if (next() == 'f') return word("false", false, number);
    return digits(number);
  }

 private:
  bool word(std::string_view expected, bool value, Number& number) {
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    number = {Number::Bool, false, true, value ? uint64_t{1} : 0, 0};
    return true;
  }

  bool digits(Number& number) {
    const size_t begin = at_;
    number = {};
    number.negative = next() == '-';
    if (number.negative) step();
    const size_t first = at_;
    if (!read_digits(number.magnitude)) return false;
    if (text_[first] == '0' && at_ - first > 1) {  // 01 is not a number
      at_ = first + 1;
      return false;
    }
    int64_t exponent = 0;
    size_t digits = at_ - first;
    if (next() == '.') {
      number.form = Number::Real;
      step();
      const size_t fraction = at_;
      if (!read_digits(number.magnitude)) return false;
      exponent = -static_cast<int64_t>(at_ - fraction);
      digits += at_ - fraction;
    }
    number.exact = digits <= kMostDigits || (number.form == Number::Integer && read_wide(first, number.magnitude));
    if (next() == 'e' || next() == 'E') {
      number.form = Number::Real;
      if (!scale(exponent)) return false;
    }
    if (number.form == Number::Integer && number.exact) return true;
    number.value = value(number, exponent, text_.substr(begin, at_ - begin));
    return true;
  }

  /// Reads an integer of more than kMostDigits digits; false if it exceeds 64 bits.
  bool read_wide(size_t begin, uint64_t& magnitude) const {
    return std::from_chars(text_.data() + begin, text_.data() + at_, magnitude).ec == std::errc();
  }

  /// Appends the next digits; there must be at least one.
  bool read_digits(uint64_t& magnitude) {
    const size_t begin = at_;
    uint64_t eight = 0;
    while (text_.size() - at_ >= sizeof(eight)) {
      std::memcpy(&eight, text_.data() + at_, sizeof(eight));
      if (!are_digits(eight)) break;
      magnitude = magnitude * 100'000'000 + value_of_digits(eight);
      at_ += sizeof(eight);
    }
    while (at_ < text_.size() && is_digit(text_[at_])) {
      magnitude = magnitude * 10 + static_cast<uint64_t>(text_[at_] - '0');  // wraps beyond kMostDigits
      ++at_;
    }
    return at_ > begin;
  }

  bool scale(int64_t& exponent) {
    step();
    const bool negative = next() == '-';
    if (negative || next() == '+') step();
    constexpr int64_t kBeyondAny = 100'000'000;
    const size_t begin = at_;
    int64_t written = 0;
    for (; is_digit(next()); step()) {
      if (written < kBeyondAny) written = written * 10 + (next() - '0');
    }
    exponent += negative ? -written : written;
    return at_ > begin;
  }

  /// The nearest double. If the digits and the power of ten are exact doubles, there is only one rounding: W. D.
  /// Clinger, "How to Read Floating Point Numbers Accurately" (1990).
  static double value(const Number& number, int64_t exponent, std::string_view written) {
    if (number.exact && number.magnitude <= (uint64_t{1} << 53) && exponent >= -22 && exponent <= 22) {
      auto value = static_cast<double>(number.magnitude);
      const double power = kPowers.at(static_cast<size_t>(std::abs(exponent)));
      value = exponent < 0 ? value / power : value * power;
      return number.negative ? -value : value;
    }
    double value = 0;
    const auto read = std::from_chars(written.data(), written.data() + written.size(), value);
    if (read.ec == std::errc::result_out_of_range) {
      value = exponent + significant_digits(written) > 0 ? std::numeric_limits<double>::infinity() : 0.0;
      if (number.negative) value = -value;
    }
    return value;
  }

  static int64_t significant_digits(std::string_view written) {
    int64_t digits = 0;
    for (const char c : written) {
      if (c == 'e' || c == 'E') break;
      if (is_digit(c) && (digits != 0 || c != '0')) ++digits;
    }
    return digits;
  }

  std::string_view text_;
  size_t at_ = 0;
};

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
  Reader(std::string_view text, c10::IntArrayRef shape, T* to, size_t capacity)
      : scanner_(text), shape_(shape), to_(to), capacity_(capacity), expected_(product(shape)) {}

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
    Number number;
    if (!scanner_.read(number)) return false;
    // The list must be flat, or nested to the depth of the last dimension.
    if (nested_ ? depth + 1 != shape_.size() : depth != 0) note_nesting(depth, begin);
    T element{};
    if (!convert(number, element) && !element_) {
      element_ = NumberListFault{NumberListFault::Element, count_, {begin, scanner_.at()}};
    }
    if (count_ < capacity_) to_[count_] = element;
    ++count_;
    return true;
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
  T* to_;
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
  return for_element_type(dtype, [&]<typename T>(std::type_identity<T> /*type*/) {
    return Reader<T>(text, shape, static_cast<T*>(to), capacity).read();
  });
}

}  // namespace trtserve
