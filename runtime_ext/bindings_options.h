#pragma once

#include <pybind11/pybind11.h>

namespace trtserve {

/// Binds the options of engines: BatchOptions and LoadOptions.
void bind_options(pybind11::module_& module);

/// Binds BuildOptions and BuildProgress.
void bind_build(pybind11::module_& module);

}  // namespace trtserve
