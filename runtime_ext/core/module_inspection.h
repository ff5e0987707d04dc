#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor_spec.h"

namespace trtserve {

/// What a module takes, returns and calls, as it is known before it runs.
struct ModuleInspection {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<int64_t> engine_ids;        ///< engines that its graph calls by ID, ascending
  std::vector<std::string> engine_names;  ///< engines that its graph calls by name, sorted
};

}  // namespace trtserve
