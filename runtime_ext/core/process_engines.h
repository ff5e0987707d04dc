#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/engine_manager.h"
#include "core/open_plan.h"

namespace trtserve {

/// What an engine is loaded from.
struct EngineSource {
  EngineId id = 0;
  std::string backend;
  LoadOptions options;
  std::shared_ptr<const OpenPlan> plan;
};

/// The engines that a program loads for itself, without a Runtime, and those that come with its modules. An engine is
/// loaded once, however often it is asked for, and unloaded with its last hold. The operators find these engines, so
/// they exclude a Runtime: a process has either. Thread safe.
class ProcessEngines {
 public:
  /// Keeps an engine loaded. Its end, which may be that of the engine, waits for executions under way. Not thread safe.
  class Hold {
   public:
    Hold(Hold&& other) noexcept
        : engines_(std::exchange(other.engines_, nullptr)), id_(other.id_), life_(other.life_) {}
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (engines_ != nullptr) engines_->release(id_, life_);
    }

   private:
    friend class ProcessEngines;
    Hold(ProcessEngines* engines, EngineId id, uint64_t life) : engines_(engines), id_(id), life_(life) {}

    ProcessEngines* engines_;
    EngineId id_;
    uint64_t life_;
  };

  void register_backend(const std::string& name, std::string plugin_path, std::vector<std::string> libraries,
                        BackendConfig config) {
    manager_.register_backend(name, std::move(plugin_path), std::move(libraries), std::move(config));
  }

  /// Loads the engine, or finds it loaded; blocks until it is. An empty backend, or a generation of TensorRT that is
  /// not installed here, is chosen by the plan. Conflict if the engine of this ID is of another plan or has other
  /// options, or if the process has a Runtime.
  Hold hold(EngineSource source);

  /// A further hold of a loaded engine. NotFound for an unknown ID.
  Hold hold(EngineId id);

  /// What a loaded engine was loaded from. NotFound for an unknown ID.
  std::shared_ptr<const EngineSource> source(EngineId id) const;

  /// Holds until unload(), which is to be called as often. NotFound if it is called more often.
  void load(EngineSource source);
  void unload(EngineId id);

  /// Unloads all, whoever holds them; blocks until their executions have ended, or were interrupted after `drain`.
  /// Later loads are possible.
  void close(Nanoseconds drain);

 private:
  struct Entry {
    std::shared_ptr<const EngineSource> source;
    uint64_t life = 0;  // tells engines apart that had the same ID one after the other
    size_t holds = 0;
    size_t loads = 0;   // how many of these are load()'s
    bool busy = false;  // being loaded or unloaded, by the thread that has set it
  };
  using Entries = std::map<EngineId, Entry>;
  using Lock = std::unique_lock<std::mutex>;

  Entries::iterator settled(EngineId id, Lock& lock);
  Entry& found(EngineId id, Lock& lock);
  Hold hold_loaded(EngineId id, Entry& entry);
  Hold load_first(EngineSource source, Lock& lock);
  void release(EngineId id, uint64_t life) noexcept;
  void drop_hold(EngineId id, Entry& entry, Lock& lock);
  void take_down(EngineId id, Entry& entry, Nanoseconds drain, Lock& lock);
  void forget(EngineId id);

  SteadyClock clock_;
  EngineManager manager_;     // published while there are entries
  mutable std::mutex mutex_;  // guards what follows; not held while an engine is loaded or unloaded
  std::condition_variable changed_;
  Entries entries_;
  uint64_t lives_ = 0;
  std::vector<std::shared_ptr<const OpenPlan>> left_behind_;  // of engines whose executions have not ended
};

/// Those of this process. Never destroyed: modules may outlive everything else.
ProcessEngines& process_engines();

}  // namespace trtserve
