#pragma once

#include <cstdint>

namespace trtserve {

/// The number digits * 10^exponent.
struct Decimal {
  uint64_t digits;
  int exponent;
};

/// The decimal with the fewest digits that is read as `value` again, and of these the nearest to it; its digits may end
/// in zeros, of which there are at most nine digits for a float, 17 for a double. `value` is finite and not negative.
Decimal shortest_decimal(float value);
Decimal shortest_decimal(double value);

}  // namespace trtserve
