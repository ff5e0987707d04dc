#pragma once

#include <string>

#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// Throws InvalidInput, naming the operator and the function, if a function of the archive has an operator that is not
/// on the list in allowed.cpp.
void check_functions(torch::jit::CompilationUnit& unit);

[[noreturn]] void refuse_class(const std::string& name);

}  // namespace trtserve::torchscript
