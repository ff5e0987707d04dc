#pragma once

#include <map>
#include <memory>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/plugin.h"

namespace trtserve {

/// The engines of this process by ID, and the backends that stand them up. Thread safe.
///
/// The operators find engines through the one manager that is published (find_engine below); its owner
/// withdraws it before it is destroyed.
class EngineManager {
 public:
  EngineManager() = default;
  ~EngineManager();
  EngineManager(const EngineManager&) = delete;
  EngineManager& operator=(const EngineManager&) = delete;

  void register_backend(const std::string& name, std::string plugin_path, std::vector<std::string> libraries,
                        BackendConfig config);
  std::vector<std::string> backends() const;

  /// The backend's library version. Opens the plugin.
  std::string backend_version(const std::string& name) const;

  /// Blocks for as long as the backend takes. Conflict where the ID is resident or being loaded; Unavailable with a
  /// `retry_after` where memory, threads or descriptors are short, whatever the backend makes of that.
  std::shared_ptr<Engine> load(EngineId id, const std::string& plan_path, const std::string& backend,
                               LoadOptions options);

  /// Takes the engine out, then blocks until its last lease has ended and its work is complete. Leases that have not
  /// ended by `deadline` are left behind: they keep the engine until they end. Where some of its executions have been
  /// left behind already, nothing is waited for. NotFound.
  void unload(EngineId id, Clock& clock, TimePoint deadline, bool left_behind = false);

  /// NotFound.
  std::shared_ptr<Engine> find(EngineId id) const;
  std::vector<std::shared_ptr<Engine>> engines() const;

  /// Makes this manager the one that the operators see. Conflict where another one is.
  void publish();
  void withdraw();

 private:
  Plugin& plugin(const std::string& backend) const;

  mutable std::shared_mutex mutex_;                         // held for look-ups and changes, never for a load
  std::map<EngineId, std::shared_ptr<Engine>> engines_;     // guarded by mutex_
  std::set<EngineId> loading_;                              // guarded by mutex_
  std::map<std::string, std::unique_ptr<Plugin>> plugins_;  // guarded by mutex_; entries are never removed
};

/// The engine of this ID in the published manager. NotFound, also where none is published.
std::shared_ptr<Engine> find_engine(EngineId id);

}  // namespace trtserve
