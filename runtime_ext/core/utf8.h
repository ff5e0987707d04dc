#pragma once

#include <string_view>

namespace trtserve {

/// True if `text` is UTF-8 (RFC 3629, section 4): each lead byte is followed by as many continuation bytes as it
/// announces; the range of the first can be narrower, so that no character has two encodings.
bool is_utf8(std::string_view text);

}  // namespace trtserve
