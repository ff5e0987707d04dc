#pragma once

#include <string>
#include <string_view>

namespace trtserve::openvino {

/// True if `bytes` is valid UTF-8.
bool is_text(std::string_view bytes);

/// Prepares foreign text for an error: at most `longest` bytes, with question marks for everything but printable UTF-8.
std::string shown(std::string_view text, size_t longest = 100);

}  // namespace trtserve::openvino
