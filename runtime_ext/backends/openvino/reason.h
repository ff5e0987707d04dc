#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace trtserve::openvino {

/// What OpenVINO says in an exception, on one line, without what only its own developers can use: places in its
/// source code, checks, types, paths. Throws std::bad_alloc where it says that it got no memory.
std::string reason(const std::exception& error);

bool says_no_memory(std::string_view text);

/// A part of such a text in the words of reason(); nothing where no more than internals are in it.
std::string plain(std::string_view text);

}  // namespace trtserve::openvino
