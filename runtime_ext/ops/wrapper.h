#pragma once

#include <torch/csrc/jit/api/module.h>

#include "core/engine.h"
#include "core/served_engine.h"

namespace trtserve {

/// The TorchScript module around an engine: its graph holds the ID as a constant and calls `trt::execute_engine` with
/// its inputs. It returns several outputs as a tuple. It does not keep the engine resident.
torch::jit::Module make_wrapper(const Engine& engine);

/// A wrapper that calls `trt::execute_engine_list`, so that torch.jit.save can write it and torch.jit.load can read it.
torch::jit::Module make_portable_wrapper(const Engine& engine);

/// The wrapper's forward in the form that the scheduler calls.
Forward make_forward(const torch::jit::Module& wrapper);

}  // namespace trtserve
