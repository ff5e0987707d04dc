#pragma once

#include <torch/csrc/jit/api/module.h>

#include "core/engine.h"
#include "core/instance.h"

namespace trtserve {

/// The TorchScript module around an engine: its graph holds the ID as a constant and calls
/// `trt::execute_engine` with its inputs. Several outputs come as a tuple. It does not keep the engine.
torch::jit::Module make_wrapper(const Engine& engine);

/// The same on `trt::execute_engine_list`, which torch.jit.save can write and torch.jit.load can read.
torch::jit::Module make_portable_wrapper(const Engine& engine);

/// The wrapper's forward as the scheduler calls it.
Forward make_forward(const torch::jit::Module& wrapper);

}  // namespace trtserve
