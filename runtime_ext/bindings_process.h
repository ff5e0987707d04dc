#pragma once

#include <pybind11/pybind11.h>

namespace trtserve {

/// The engines that a program has without a Runtime, and the modules around engines.
void bind_process(pybind11::module_& module);

}  // namespace trtserve
