#pragma once

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/engine_manager.h"
#include "core/scheduler.h"

namespace trtserve {

/// All of it in its order of life: the engine manager that the operators see, the scheduler that feeds it,
/// and the queue that completions leave by. One at a time in a process. Thread safe.
class Runtime {
 public:
  /// Conflict where this process has one already.
  Runtime(std::shared_ptr<Clock> clock, Nanoseconds stuck_after);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  EngineManager& manager() { return manager_; }
  const EngineManager& manager() const { return manager_; }
  Scheduler& scheduler() { return scheduler_; }
  const Scheduler& scheduler() const { return scheduler_; }
  CompletionQueue& completions() { return *completions_; }

  /// Stands an engine up and serves it; on an Error nothing is left of it.
  std::shared_ptr<Engine> load(EngineId id, const std::string& plan_path, const std::string& backend,
                               LoadOptions options);

  /// See ServedEngine::stop; then releases the engine.
  void unload(EngineId id, Nanoseconds drain);

  /// Unloads everything, without waiting for requests but for unloads that are under way. Later loads are Unavailable,
  /// and so are those under way: what they have loaded is released when they end.
  void close();

 private:
  void take_down(EngineId id, Nanoseconds drain);

  std::shared_mutex
      lifecycle_mutex_;  // held shared by the end of a load and by an unload, so that close() leaves none behind
  bool closed_ = false;  // guarded by lifecycle_mutex_
  const std::shared_ptr<Clock> clock_;
  const std::shared_ptr<CompletionQueue> completions_ = std::make_shared<CompletionQueue>();
  EngineManager manager_;
  Scheduler scheduler_;
};

}  // namespace trtserve
