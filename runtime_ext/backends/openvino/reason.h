#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace trtserve::openvino {

/// An OpenVINO exception's message on one line, without details for its developers: source locations, checks, types and
/// paths. Throws std::bad_alloc if the message reports a lack of memory.
std::string reason(const std::exception& error);

bool says_no_memory(std::string_view text);

/// Cleans a part of such a message like reason(); empty if it contains only internals.
std::string plain(std::string_view text);

}  // namespace trtserve::openvino
