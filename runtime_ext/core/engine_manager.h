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

/// The engines of this process by place (see kBeside), and the backends that load them. Thread safe.
///
/// The operators find engines through the one published manager (find_engine below); its owner withdraws it before
/// destroying it.
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

  /// True if the backend builds plans. Opens the plugin.
  bool backend_builds(const std::string& name) const;

  /// See Backend::devices. Opens the plugin.
  std::vector<std::string> devices_of(const std::string& backend, const std::string& option) const;

  /// See Backend::build. Unavailable with a `retry_after` if memory, threads or descriptors are short, however the
  /// backend reports it.
  void build(const std::string& backend, const std::string& model_path, const std::string& plan_path,
             const BuildOptions& options, BuildProgress& progress) const;

  /// See Backend::inspect. Unavailable with a `retry_after` if memory, threads or descriptors are short.
  ModuleInspection inspect(const std::string& backend, const std::string& path, const std::string& tensors) const;

  /// Blocks until the backend has finished. The engine keeps those that it uses: NotFound if one is not loaded.
  /// Conflict if there is an engine in this place, or one is being loaded; Unavailable with a
  /// `retry_after` if memory, threads or descriptors are short, however the backend reports it.
  std::shared_ptr<Engine> load(EngineId place, const std::string& plan_path, const std::string& backend,
                               const LoadOptions& options);

  /// From now on, no engine that is loaded may use this one: the first step of an unload. Conflict if one does already,
  /// and NotFound for an unknown ID, or one that is retired already.
  void retire(EngineId place);

  /// Undoes retire(), because the unload has failed.
  void reinstate(EngineId place);

  /// Lets an engine and the one beside it change places: from now on the other is found, and those that use it keep the
  /// other. NotFound if one of them is missing.
  void exchange(EngineId id);

  /// Removes the engine, then blocks until its last lease has ended, its work is complete, and its last holder has
  /// released it; its memory is then given back to the system. Leases and holders that last beyond `deadline` are left
  /// behind: they keep the engine until they end. Does not wait if `left_behind` (some executions already are).
  /// NotFound for an unknown ID.
  void unload(EngineId place, Clock& clock, TimePoint deadline, bool left_behind = false);

  /// NotFound for an unknown ID.
  std::shared_ptr<Engine> find(EngineId place) const;
  /// The engine of this name. NotFound if there is none; Conflict if there are several.
  std::shared_ptr<Engine> find_named(const std::string& name) const;
  /// Without those beside others.
  std::vector<std::shared_ptr<Engine>> engines() const;

  /// Makes this manager the one that the operators use. Conflict if another is published: its `remedy`, a clause, says
  /// what to do.
  void publish(std::string remedy);
  void withdraw();

 private:
  Plugin& plugin(const std::string& backend) const;
  void keep_used(Engine& engine);

  mutable std::shared_mutex mutex_;                         // held for look-ups and changes, never for a load
  std::map<EngineId, std::shared_ptr<Engine>> engines_;     // guarded by mutex_
  std::set<EngineId> loading_;                              // guarded by mutex_
  std::set<EngineId> retired_;                              // guarded by mutex_; resident engines
  std::map<std::string, std::unique_ptr<Plugin>> plugins_;  // guarded by mutex_; entries are never removed
};

/// The engine of this ID in the published manager. NotFound if there is no such engine or no published manager.
std::shared_ptr<Engine> find_engine(EngineId id);

/// The engine of this name in the published manager. NotFound as above; Conflict if there are several.
std::shared_ptr<Engine> find_engine_named(const std::string& name);

}  // namespace trtserve
