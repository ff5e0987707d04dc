#pragma once

#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include <ATen/core/Dict.h>
#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include "core/process_engines.h"

namespace trtserve {

/// What a file holds of a PlanEngine: the format's version, the engine's ID, its backend, the options that are not the
/// defaults, and the plan's bytes.
using PlanEngineState = std::tuple<int64_t, int64_t, std::string, c10::Dict<std::string, std::string>, at::Tensor>;

/// `torch.classes.trt.Engine`: an engine that a TorchScript module carries with its plan. torch.jit.save writes the
/// plan, and torch.jit.load stands the engine up again. Objects of one plan share one engine, which is unloaded with
/// the last of them. Immutable and thread safe.
class PlanEngine : public torch::CustomClassHolder {
 public:
  /// An engine that process_engines() has loaded; NotFound otherwise.
  explicit PlanEngine(EngineId id) : hold_(process_engines().hold(id)), source_(process_engines().source(id)) {}

  /// Loads the engine. See ProcessEngines::hold.
  explicit PlanEngine(EngineSource source)
      : hold_(process_engines().hold(source)), source_(std::make_shared<const EngineSource>(std::move(source))) {}

  /// Only to be saved: no engine is loaded.
  explicit PlanEngine(std::shared_ptr<const EngineSource> source) : source_(std::move(source)) {}

  int64_t id() const { return source_->id; }

  PlanEngineState state() const;
  /// InvalidInput for a state that this version cannot read.
  static c10::intrusive_ptr<PlanEngine> from_state(const PlanEngineState& state);

 private:
  const std::optional<ProcessEngines::Hold> hold_;
  const std::shared_ptr<const EngineSource> source_;
};

}  // namespace trtserve
