#include "backends/openvino/shown.h"

#include <algorithm>
#include <cstdint>

namespace trtserve::openvino {

namespace {

/// The length of the UTF-8 character at the start of `bytes`, or 0 if there is none:
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

std::string shown(std::string_view text, size_t longest) {
  std::string shown;
  while (!text.empty()) {
    const size_t length = character(text);
    if (shown.size() + length > longest) return shown + "…";
    const bool printable = length > 1 || (length == 1 && text[0] >= ' ' && text[0] != '\x7F');
    if (printable) {
      shown += text.substr(0, length);
    } else {
      shown += '?';
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return shown;
}

}  // namespace trtserve::openvino
