#pragma once

#include <memory>
#include <string>

#include <torch/csrc/jit/frontend/source_range.h>

namespace trtserve::torchscript {

/// Throws InvalidInput unless the source can be compiled without running any of it: torch evaluates the values of
/// default arguments, of class constants and of enums when it compiles them, so these must be literals. Refuses the
/// methods that torch calls while it loads an object, too, and calls of trt::execute_engine, which cannot be compiled.
void check_source(const std::string& file, const std::shared_ptr<torch::jit::Source>& source);

}  // namespace trtserve::torchscript
