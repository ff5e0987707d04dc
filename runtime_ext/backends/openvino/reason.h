#pragma once

#include <exception>
#include <string>

namespace trtserve::openvino {

/// What OpenVINO says in an exception, on one line and without the places in its source code.
std::string reason(const std::exception& error);

}  // namespace trtserve::openvino
