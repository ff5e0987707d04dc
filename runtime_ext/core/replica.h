#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/context_pool.h"
#include "core/memory.h"

namespace trtserve {

/// An engine on one of its devices: the plan, deserialized there, with its pool of execution contexts. Thread safe, and
/// immutable but for what its instances have staged.
class Replica {
 public:
  /// Creates the execution contexts; `label` names the engine in errors. InvalidInput for tensors without proper names.
  Replica(std::unique_ptr<BackendEngine> engine, const std::string& label);

  const BackendEngine& backend_engine() const { return *engine_; }
  at::Device device() const { return engine_->device(); }
  size_t instances() const { return contexts_.size(); }
  ContextPool& contexts() { return contexts_; }
  /// Bytes that the heap grew by while the contexts were created; see heap_in_use().
  int64_t heap_for_contexts() const { return heap_for_contexts_; }

  /// The most bytes of pinned memory that one batch of the instance has used so far. Its lane writes it.
  std::atomic<int64_t>& staged(size_t instance) { return staged_.at(instance); }
  /// The sum over the instances: each may use as much at the same time, and torch keeps the memory for the next batch.
  int64_t staging() const;

  /// A stream for an instance; null on the CPU.
  std::unique_ptr<DeviceStream> create_stream() { return engine_->create_stream(); }

 private:
  const std::unique_ptr<BackendEngine> engine_;  // before the contexts, which are destroyed first
  const int64_t heap_before_ = heap_in_use();
  ContextPool contexts_;
  std::vector<std::atomic<int64_t>> staged_;  // by instance
  const int64_t heap_for_contexts_ = std::max<int64_t>(0, heap_in_use() - heap_before_);
};

}  // namespace trtserve
