#pragma once

#include <pybind11/pybind11.h>

namespace trtserve {

/// Binds the functions that read a request's numbers into tensors without a Python object for each.
void bind_numbers(pybind11::module_& module);

}  // namespace trtserve
