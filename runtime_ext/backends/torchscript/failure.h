#pragma once

#include <exception>
#include <string>

namespace trtserve::torchscript {

/// The reason in an exception of torch, in one line: without its traces of TorchScript and of C++.
std::string first_reason(const std::exception& error);

}  // namespace trtserve::torchscript
