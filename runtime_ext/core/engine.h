#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/context_pool.h"

namespace trtserve {

/// The first 52 bits of the plan's SHA-256: exact in JSON, in JavaScript and as a constant in a graph.
using EngineId = int64_t;

/// A plan, deserialized and resident, with its pool of execution contexts. Immutable and thread safe.
class Engine {
 public:
  Engine(EngineId id, std::string backend, LoadOptions options, std::unique_ptr<BackendEngine> backend_engine);

  EngineId id() const { return id_; }
  const std::string& name() const { return options_.name; }
  const std::string& backend() const { return backend_; }
  const LoadOptions& options() const { return options_; }
  const BackendEngine& backend_engine() const { return *backend_engine_; }
  const std::vector<TensorSpec>& inputs() const { return backend_engine_->inputs(); }
  const std::vector<TensorSpec>& outputs() const { return backend_engine_->outputs(); }
  at::Device device() const { return backend_engine_->device(); }

  /// "engine 123 (LeNet)", for sentences.
  std::string label() const;

  ContextPool& contexts() { return contexts_; }

 private:
  const EngineId id_;
  const std::string backend_;
  const LoadOptions options_;
  const std::unique_ptr<BackendEngine> backend_engine_;
  ContextPool contexts_;  // after backend_engine_: contexts are destroyed before the engine they belong to
};

}  // namespace trtserve
