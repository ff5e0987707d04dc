#pragma once

#include <string>

#include <torch/csrc/jit/api/module.h>

#include "core/engine.h"

namespace trtserve {

/// The bytes of a file with the typed wrapper, which calls the engine by its ID.
std::string module_file(const Engine& engine);

/// A module that carries its engine only to be saved: no engine is loaded for it. `plan` is the file that the engine
/// was loaded from; it stays open as long as the module.
torch::jit::Module carrying_module(const Engine& engine, const std::string& plan);

/// Writes a module's file to an open descriptor, from the beginning to the end, so it may be that of a pipe.
/// Unavailable if that fails; what has been written stays.
void write_module(const torch::jit::Module& module, int fd);

}  // namespace trtserve
