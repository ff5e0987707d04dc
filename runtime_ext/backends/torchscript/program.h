#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "backends/torchscript/description.h"
#include "backends/torchscript/references.h"
#include "core/load_options.h"

namespace trtserve::torchscript {

/// A module, checked and frozen, whose references to engines are not resolved: what can be said of it before it runs.
struct Frozen {
  torch::jit::Module module;
  Description tensors;
  References references;
  std::vector<bool> writes;  ///< for each input, whether an execution writes to it
};

/// Reads, checks and freezes the archive `path` for `device`. `tensors` is that of LoadOptions. InvalidInput if the
/// module is at fault.
Frozen freeze(const std::string& path, at::Device device, const std::string& tensors);

/// A module that is ready to run. Immutable and thread safe.
struct Program {
  torch::jit::Module module;
  torch::jit::Code code;
  Description tensors;
  std::vector<int64_t> engines;            ///< IDs of those that it calls
  std::vector<bool> writes;                ///< for each input, whether an execution writes to it
  bool forks_in_turn = false;              ///< tasks run where they are forked, see tasks_may_race()
  std::unordered_set<const void*> shared;  ///< storages of its constants
  int64_t bytes = 0;                       ///< of these storages
};

/// Resolves the names of engines with `options.engines`. InvalidInput for one that is missing.
Program make_program(Frozen frozen, const LoadOptions& options);

}  // namespace trtserve::torchscript
