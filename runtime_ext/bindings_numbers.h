#pragma once

#include <pybind11/pybind11.h>

namespace trtserve {

/// What reads the numbers of requests into tensors without a Python object for each.
void bind_numbers(pybind11::module_& module);

}  // namespace trtserve
