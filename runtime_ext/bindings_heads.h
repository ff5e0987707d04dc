#pragma once

#include <pybind11/pybind11.h>

namespace trtserve {

/// Binds the reader of request heads.
void bind_heads(pybind11::module_& module);

}  // namespace trtserve
