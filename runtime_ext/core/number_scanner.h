#pragma once

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "core/decimal_digits.h"
#include "core/json_spans.h"

namespace trtserve {

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

  /// Reads a float as most are written: digits, a point, digits; not near the ends of its range, and not too near the
  /// middle between two floats. False, without a step, if it is written or lies otherwise: read() then reads it.
  template <typename T>
  bool read_plain(T& value) {
    // What is looked at: a sign, kMostDigits, a point, three times eight digits, and what follows.
    constexpr size_t kLongest = 48;
    if (text_.size() - at_ < kLongest) return false;
    const char* at = text_.data() + at_;
    const bool negative = *at == '-';
    at += negative ? 1 : 0;
    const char* const first = at;
    if (!is_digit(*at)) return false;
    auto magnitude = static_cast<uint64_t>(*at++ - '0');
    if (magnitude != 0) {
      for (; is_digit(*at) && at - first < kMostDigits; ++at) {
        magnitude = magnitude * 10 + static_cast<uint64_t>(*at - '0');
      }
    }
    if (*at != '.') return false;
    const char* const fraction = ++at;
    size_t digits = 0;
    do {
      const uint64_t eight = load_eight(at);
      digits = leading_digits(eight);
      if (digits == 0) break;
      magnitude = magnitude * kWholePowers[digits] + value_of_digits(eight << (8 * (kEight - digits)));
      at += digits;
    } while (digits == kEight && at - fraction < kMostDigits);
    if (at == fraction || at - first - 1 > kMostDigits || *at == 'e' || *at == 'E') return false;
    if (!divided(magnitude, kPowers[static_cast<size_t>(at - fraction)], value)) return false;
    if (negative) value = -value;
    at_ = static_cast<size_t>(at - text_.data());
    return true;
  }

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
    while (text_.size() - at_ >= kEight) {
      const uint64_t eight = load_eight(text_.data() + at_);
      if (leading_digits(eight) < kEight) break;
      magnitude = magnitude * 100'000'000 + value_of_digits(eight);
      at_ += kEight;
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

  /// The nearest double, as value() explains; false if it is not certain.
  static bool divided(uint64_t magnitude, double power, double& value) {
    value = static_cast<double>(magnitude) / power;
    return magnitude <= uint64_t{1} << 53;
  }

  /// The float that is nearest to the nearest double. Two roundings make an error of at most two last places of a
  /// double. That does not change the float, unless the middle between two floats is as near.
  static bool divided(uint64_t magnitude, double power, float& value) {
    constexpr int kMore = std::numeric_limits<double>::digits - std::numeric_limits<float>::digits;
    constexpr uint64_t kMiddle = uint64_t{1} << (kMore - 1);
    constexpr uint64_t kNear = 4;
    const double nearly = static_cast<double>(magnitude) / power;
    value = static_cast<float>(nearly);
    const uint64_t below = std::bit_cast<uint64_t>(nearly) & (2 * kMiddle - 1);
    const bool in_range = nearly >= std::numeric_limits<float>::min() && nearly < std::numeric_limits<float>::max() / 2;
    return (in_range && below - (kMiddle - kNear) > 2 * kNear) || magnitude == 0;
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

}  // namespace trtserve
