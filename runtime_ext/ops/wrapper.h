#pragma once

#include <torch/csrc/jit/api/module.h>

#include "core/engine.h"
#include "core/served_engine.h"
#include "ops/plan_engine.h"

namespace trtserve {

/// The TorchScript module around an engine: its graph holds the ID as a constant and calls `trt::execute_engine` with
/// its inputs. It returns several outputs as a tuple. It does not keep the engine resident.
torch::jit::Module make_wrapper(const Engine& engine);

/// A wrapper that calls `trt::execute_engine_list`, so that torch.jit.save can write it, torch.jit.load can read it,
/// and torch.export can trace it.
torch::jit::Module make_typed_wrapper(const Engine& engine);

/// Likewise, with the engine inside: it keeps `carried`, whose ID it calls.
torch::jit::Module make_carrying_wrapper(const Engine& engine, const c10::intrusive_ptr<PlanEngine>& carried);

/// The wrapper's forward in the form that the scheduler calls. It runs this engine, also while another life of it
/// serves under the ID.
Forward make_forward(const torch::jit::Module& wrapper, const std::shared_ptr<Engine>& engine);

}  // namespace trtserve
