#pragma once

#include <pybind11/pybind11.h>

namespace trtserve {

/// Binds what reads requests in JSON that are like earlier ones except for their numbers, and writes numbers as JSON.
void bind_json(pybind11::module_& module);

}  // namespace trtserve
