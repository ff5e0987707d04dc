#pragma once

#include <string>
#include <string_view>

namespace trtserve::openvino {

/// Whether `bytes` are UTF-8.
bool is_text(std::string_view bytes);

/// A name from a file as an error can show it: the first hundred bytes of it, all else than printable UTF-8 as '?'.
std::string shown(std::string_view name);

}  // namespace trtserve::openvino
