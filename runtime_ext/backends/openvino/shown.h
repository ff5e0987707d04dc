#pragma once

#include <string>
#include <string_view>

namespace trtserve::openvino {

/// Whether `bytes` are UTF-8.
bool is_text(std::string_view bytes);

/// Text that is not ours as an error can show it: no more than `longest` bytes of it, and all else than printable UTF-8
/// as question marks.
std::string shown(std::string_view text, size_t longest = 100);

}  // namespace trtserve::openvino
