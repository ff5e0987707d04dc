#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/context_pool.h"
#include "core/memory.h"

namespace trtserve {

/// The first 52 bits of the plan's SHA-256: exact in JSON, in JavaScript and as a constant in a graph.
using EngineId = int64_t;

/// A plan, deserialized and resident, with its pool of execution contexts. Immutable and thread safe.
class Engine {
 public:
  /// Deserializes the plan with `backend`, registered as `backend_name`.
  Engine(EngineId id, std::string backend_name, std::shared_ptr<Backend> backend, const std::string& plan_path,
         LoadOptions options);

  EngineId id() const { return id_; }
  const std::string& name() const { return options_.name; }
  const std::string& backend() const { return backend_name_; }
  const LoadOptions& options() const { return options_; }
  const BackendEngine& backend_engine() const { return *backend_engine_; }
  const std::vector<TensorSpec>& inputs() const { return backend_engine_->inputs(); }
  const std::vector<TensorSpec>& outputs() const { return backend_engine_->outputs(); }
  at::Device device() const { return backend_engine_->device(); }

  /// The backend's properties, read once after the load, because asking the backend may wait for an execution.
  const std::map<std::string, std::string>& properties() const { return properties_; }

  /// The memory that it takes now, contexts included; see MemoryByKind. What its backend counts is exact; what the heap
  /// grew by while it was loaded is an estimate.
  Memory memory() const;

  /// Tells when its memory is free, whoever held it last.
  std::shared_ptr<Gone> gone() const { return farewell_.gone; }

  /// "engine 123 (LeNet)", for messages.
  std::string label() const;

  ContextPool& contexts() { return contexts_; }

  /// A stream for an instance; null on the CPU.
  std::unique_ptr<DeviceStream> create_stream() { return backend_engine_->create_stream(); }

 private:
  struct Farewell {
    std::shared_ptr<Gone> gone = std::make_shared<Gone>();
    Farewell() = default;
    ~Farewell() { gone->tell(); }
    Farewell(const Farewell&) = delete;
    Farewell& operator=(const Farewell&) = delete;
  };

  const Farewell farewell_;  // first, so that it is destroyed last
  const EngineId id_;
  const std::string backend_name_;
  const LoadOptions options_;
  // The order matters: contexts are destroyed before the engine, and the engine before its backend. An engine in use
  // may hold the last reference to the backend.
  const std::shared_ptr<Backend> backend_;
  const int64_t heap_before_ = heap_in_use();
  const std::unique_ptr<BackendEngine> backend_engine_;
  const std::map<std::string, std::string> properties_;
  const int64_t heap_for_weights_ = std::max<int64_t>(0, heap_in_use() - heap_before_);
  ContextPool contexts_;
  const int64_t heap_for_contexts_ = std::max<int64_t>(0, heap_in_use() - heap_before_ - heap_for_weights_);
};

}  // namespace trtserve
