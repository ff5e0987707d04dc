#include "core/shortest_decimal.h"

#include <array>
#include <charconv>
#include <cstring>

namespace trtserve {

namespace {

constexpr int kMantissaBits = 23;
constexpr int kLeastExponent = -149;  // of a float's last place
constexpr uint32_t kHidden = uint32_t{1} << kMantissaBits;
constexpr int kLeastPower = -31;

/// 10^n for n from kLeastPower on: its first 64 bits, rounded up.
constexpr std::array<uint64_t, 77> kPowers = {
    0x81CEB32C4B43FCF5, 0xA2425FF75E14FC32, 0xCAD2F7F5359A3B3F, 0xFD87B5F28300CA0E, 0x9E74D1B791E07E49,
    0xC612062576589DDB, 0xF79687AED3EEC552, 0x9ABE14CD44753B53, 0xC16D9A0095928A28, 0xF1C90080BAF72CB2,
    0x971DA05074DA7BEF, 0xBCE5086492111AEB, 0xEC1E4A7DB69561A6, 0x9392EE8E921D5D08, 0xB877AA3236A4B44A,
    0xE69594BEC44DE15C, 0x901D7CF73AB0ACDA, 0xB424DC35095CD810, 0xE12E13424BB40E14, 0x8CBCCC096F5088CC,
    0xAFEBFF0BCB24AAFF, 0xDBE6FECEBDEDD5BF, 0x89705F4136B4A598, 0xABCC77118461CEFD, 0xD6BF94D5E57A42BD,
    0x8637BD05AF6C69B6, 0xA7C5AC471B478424, 0xD1B71758E219652C, 0x83126E978D4FDF3C, 0xA3D70A3D70A3D70B,
    0xCCCCCCCCCCCCCCCD, 0x8000000000000000, 0xA000000000000000, 0xC800000000000000, 0xFA00000000000000,
    0x9C40000000000000, 0xC350000000000000, 0xF424000000000000, 0x9896800000000000, 0xBEBC200000000000,
    0xEE6B280000000000, 0x9502F90000000000, 0xBA43B74000000000, 0xE8D4A51000000000, 0x9184E72A00000000,
    0xB5E620F480000000, 0xE35FA931A0000000, 0x8E1BC9BF04000000, 0xB1A2BC2EC5000000, 0xDE0B6B3A76400000,
    0x8AC7230489E80000, 0xAD78EBC5AC620000, 0xD8D726B7177A8000, 0x878678326EAC9000, 0xA968163F0A57B400,
    0xD3C21BCECCEDA100, 0x84595161401484A0, 0xA56FA5B99019A5C8, 0xCECB8F27F4200F3A, 0x813F3978F8940985,
    0xA18F07D736B90BE6, 0xC9F2C9CD04674EDF, 0xFC6F7C4045812297, 0x9DC5ADA82B70B59E, 0xC5371912364CE306,
    0xF684DF56C3E01BC7, 0x9A130B963A6C115D, 0xC097CE7BC90715B4, 0xF0BDC21ABB48DB21, 0x96769950B50D88F5,
    0xBC143FA4E250EB32, 0xEB194F8E1AE525FE, 0x92EFD1B8D0CF37BF, 0xB7ABC627050305AE, 0xE596B7B0C643C71A,
    0x8F7E32CE7BEA5C70, 0xB35DBF821AE4F38C,
};

// Exact for all exponents of a float: products with the logarithm in fixed point, rounded down.
int log2_of_power_of_10(int exponent) { return (exponent * 1741647) >> 19; }
int log10_of_power_of_2(int exponent) { return (exponent * 1262611) >> 22; }
int log10_of_three_quarters_of_power_of_2(int exponent) { return (exponent * 1262611 - 524031) >> 22; }

/// power * scaled / 2^64, whose last bit is set if the quotient is not whole: it compares with whole numbers as the
/// exact product does.
uint32_t product_to_odd(uint64_t power, uint32_t scaled) {
  const auto product = static_cast<unsigned __int128>(power) * scaled;
  const auto whole = static_cast<uint32_t>(product >> 64);
  const auto rest = static_cast<uint32_t>(product >> 32);
  return whole | (rest > 1 ? 1U : 0U);
}

}  // namespace

// R. Giulietti, "The Schubfach way to render doubles" (2020), for floats. The numbers that are read as the float
// mantissa * 2^exponent form an interval around it. With k so that 10^k is not longer than the interval and 10^(k+1)
// is longer, one multiple of 10^(k+1), or else one or two of 10^k that are next to the float, lie inside.
Decimal shortest_decimal(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t fraction = bits & (kHidden - 1);
  const auto biased = static_cast<int>(bits >> kMantissaBits);
  if (bits == 0) return {0, 0};
  const uint32_t mantissa = biased == 0 ? fraction : fraction | kHidden;
  const int exponent = kLeastExponent + (biased == 0 ? 0 : biased - 1);
  const bool closer_below = fraction == 0 && biased > 1;  // the next smaller float is half as far away
  // An end of the interval is read as this float if its mantissa is even.
  const uint32_t open = mantissa & 1;

  const int k = closer_below ? log10_of_three_quarters_of_power_of_2(exponent) : log10_of_power_of_2(exponent);
  const uint64_t power = kPowers.at(static_cast<size_t>(-k - kLeastPower));
  const int shift = exponent + log2_of_power_of_10(-k) + 1;
  // The float and the ends of its interval, in quarters of 10^k.
  const uint32_t lower = product_to_odd(power, (4 * mantissa - (closer_below ? 1 : 2)) << shift) + open;
  const uint32_t middle = product_to_odd(power, (4 * mantissa) << shift);
  const uint32_t upper = product_to_odd(power, (4 * mantissa + 2) << shift) - open;

  // All cases without branches: a processor cannot guess which it will be.
  const uint32_t below = middle / 4;
  const uint32_t tens = below / 10;
  const uint32_t tens_inside = lower <= 40 * tens ? 1 : 0;
  const uint32_t next_inside = 40 * tens + 40 <= upper ? 1 : 0;
  const uint32_t is_tens = (tens_inside ^ next_inside) & (below >= 10 ? 1U : 0U);

  const uint32_t below_inside = lower <= 4 * below ? 1 : 0;
  const uint32_t above_inside = 4 * below + 4 <= upper ? 1 : 0;
  const uint32_t is_one = below_inside ^ above_inside;
  const uint32_t nearer_above = middle + (below & 1) > 4 * below + 2 ? 1 : 0;  // of two as near, the even one
  const uint32_t up = (is_one & above_inside) | (~is_one & nearer_above);

  const uint32_t digits = is_tens * 10 * (tens + next_inside) + (1 - is_tens) * (below + up);
  return {digits, k};
}

Decimal shortest_decimal(double value) {
  std::array<char, 32> text{};  // d.dddde-308
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific);
  Decimal decimal{0, 0};
  const char* at = text.data();
  bool point = false;
  for (; at != written.ptr && *at != 'e'; ++at) {
    if (*at == '.') {
      point = true;
    } else {
      decimal.digits = decimal.digits * 10 + static_cast<uint64_t>(*at - '0');
      if (point) --decimal.exponent;
    }
  }
  int exponent = 0;
  if (at != written.ptr) {
    at += at[1] == '+' ? 2 : 1;  // from_chars does not take a plus
    std::from_chars(at, written.ptr, exponent);
  }
  decimal.exponent += exponent;
  return decimal;
}

}  // namespace trtserve
