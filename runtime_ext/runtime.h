#pragma once

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/engine_manager.h"
#include "core/scheduler.h"
#include "core/warm_up.h"

namespace trtserve {

/// Owns the engine manager that the operators use, the scheduler that feeds it, and the queue of completions, and
/// starts and stops them in order. One at a time in a process. Thread safe.
class Runtime {
 public:
  /// Conflict if this process already has one.
  Runtime(std::shared_ptr<Clock> clock, Nanoseconds stuck_after);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  EngineManager& manager() { return manager_; }
  const EngineManager& manager() const { return manager_; }
  Scheduler& scheduler() { return scheduler_; }
  const Scheduler& scheduler() const { return scheduler_; }
  CompletionQueue& completions() { return *completions_; }

  /// Loads an engine and serves it, in this place (see kBeside); on an Error, nothing of it remains.
  std::shared_ptr<Engine> load(EngineId place, const std::string& plan_path, const std::string& backend,
                               const LoadOptions& options);

  /// See core/warm_up.h; no execution begins after `most`.
  size_t warm_up(EngineId place, const std::vector<std::vector<WarmUpInput>>& executions, Nanoseconds most);

  /// Lets an engine and the one beside it change places: requests and operators find the other from now on, and what
  /// uses the one keeps the other. What has begun ends where it is. Does not block. NotFound if one is missing.
  void exchange(EngineId id);

  /// Conflict if another engine uses it. See ServedEngine::stop, and Scheduler::stop for `keep_counts`; then releases
  /// the engine.
  void unload(EngineId place, Nanoseconds drain, bool keep_counts = false);

  /// Unloads everything. Waits for unloads under way, but not for requests. Later loads are Unavailable, and so are
  /// those under way: their engines are released when they end.
  void close();

 private:
  std::vector<EngineId> users_first() const;
  void take_down(EngineId place, Nanoseconds drain, bool keep_counts);

  std::shared_mutex
      lifecycle_mutex_;  // held shared at the end of a load and during an unload, so that close() misses none
  bool closed_ = false;  // guarded by lifecycle_mutex_
  const std::shared_ptr<Clock> clock_;
  const std::shared_ptr<CompletionQueue> completions_ = std::make_shared<CompletionQueue>();
  EngineManager manager_;
  Scheduler scheduler_;
};

}  // namespace trtserve
