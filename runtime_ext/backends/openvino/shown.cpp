#include "backends/openvino/shown.h"

#include <cstdint>

namespace trtserve::openvino {

namespace {

constexpr size_t kLongest = 100;

/// The length of the character that `bytes` begin with, or 0 where they begin with none:
/// https://www.unicode.org/versions/Unicode15.0.0/ch03.pdf, table 3-7.
size_t character(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || bytes.size() < length) return 0;
  const uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (at(1) < least || at(1) > most) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool is_text(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = character(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string shown(std::string_view name) {
  std::string text;
  while (!name.empty()) {
    const size_t length = character(name);
    if (text.size() + length > kLongest) return text + "…";
    const bool printable = length > 1 || (length == 1 && name[0] >= ' ' && name[0] != '\x7F');
    if (printable) {
      text += name.substr(0, length);
    } else {
      text += '?';
    }
    name.remove_prefix(length == 0 ? 1 : length);
  }
  return text;
}

}  // namespace trtserve::openvino
