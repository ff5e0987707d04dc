#include "core/engine_manager.h"

#include <algorithm>
#include <filesystem>
#include <mutex>

#include "core/device_health.h"
#include "core/error.h"
#include "core/shortage.h"

namespace trtserve {

namespace {

// A plain pointer, so that no destructor runs at exit: it does not own the manager.
std::shared_mutex published_mutex;           // held shared during a look-up, so that withdraw() waits for it
EngineManager* published_manager = nullptr;  // guarded by published_mutex
std::string& published_remedy() {            // guarded by published_mutex; never destroyed, as above
  static std::string& remedy = *std::make_unique<std::string>().release();
  return remedy;
}

/// The least address space that a load or a build needs beyond its file: thread stacks and library reservations.
constexpr size_t kLoadBytes = size_t{128} << 20;

/// The address space that a load or a build needs: kLoadBytes and another copy of the file.
size_t bytes_for(const std::string& path) {
  std::error_code unknown;
  const auto bytes = std::filesystem::file_size(path, unknown);
  return unknown ? kLoadBytes : kLoadBytes + static_cast<size_t>(bytes);
}

/// Converts the failure of a load or a build for the client. A library that is short of a resource may blame the plan
/// or itself.
Error load_failure(const std::string& label, size_t bytes, const std::exception_ptr& failure) {
  if (auto shortage = shortage_behind(label, failure)) return *shortage;
  // The backend has already checked its device.
  Error error = explained(at::kCPU, label, failure);
  if (error.retry_after()) return error;
  return shortage_for(label, bytes).value_or(error);
}

[[noreturn]] void fail_unknown(EngineId id) {
  fail(Kind::NotFound, "there is no engine ", id, ": it was never loaded here, or it was unloaded");
}

}  // namespace

EngineManager::~EngineManager() { withdraw(); }

void EngineManager::register_backend(const std::string& name, std::string plugin_path,
                                     std::vector<std::string> libraries, BackendConfig config) {
  auto plugin = std::make_unique<Plugin>(name, std::move(plugin_path), std::move(libraries), std::move(config));
  std::unique_lock lock(mutex_);
  if (!plugins_.emplace(name, std::move(plugin)).second) {
    fail(Kind::Conflict, "the backend ", name, " is registered already");
  }
}

std::vector<std::string> EngineManager::backends() const {
  std::shared_lock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, plugin] : plugins_) names.push_back(name);
  return names;
}

std::string EngineManager::backend_version(const std::string& name) const { return plugin(name).backend()->version(); }

bool EngineManager::backend_builds(const std::string& name) const { return plugin(name).backend()->builds(); }

std::vector<std::string> EngineManager::devices_of(const std::string& backend, const std::string& option) const {
  return plugin(backend).backend()->devices(option);
}

void EngineManager::build(const std::string& backend, const std::string& model_path, const std::string& plan_path,
                          const BuildOptions& options, BuildProgress& progress) const {
  const std::string label = c10::str("the ", backend, " backend");
  const size_t bytes = bytes_for(model_path);
  try {
    if (const auto shortage = shortage_for(label, bytes)) throw Error(*shortage);
    plugin(backend).backend()->build(model_path, plan_path, options, progress);
  } catch (...) {
    throw load_failure(label, bytes, std::current_exception());
  }
}

ModuleInspection EngineManager::inspect(const std::string& backend, const std::string& path,
                                        const std::string& tensors) const {
  const std::string label = c10::str("the ", backend, " backend");
  const size_t bytes = bytes_for(path);
  try {
    if (const auto shortage = shortage_for(label, bytes)) throw Error(*shortage);
    return plugin(backend).backend()->inspect(path, tensors);
  } catch (...) {
    throw load_failure(label, bytes, std::current_exception());
  }
}

Plugin& EngineManager::plugin(const std::string& backend) const {
  std::shared_lock lock(mutex_);
  const auto found = plugins_.find(backend);
  if (found == plugins_.end()) fail(Kind::Unsupported, "this server has no backend called ", backend);
  return *found->second;
}

std::shared_ptr<Engine> EngineManager::load(EngineId place, const std::string& plan_path, const std::string& backend,
                                            const LoadOptions& options) {
  const EngineId id = id_of_place(place);
  {
    std::unique_lock lock(mutex_);
    if (engines_.count(place) != 0) fail(Kind::Conflict, "engine ", id, " is resident already");
    if (!loading_.insert(place).second) fail(Kind::Conflict, "engine ", id, " is being loaded already");
  }
  const std::string label = c10::str("the ", backend, " backend");
  const size_t bytes = bytes_for(plan_path);
  std::shared_ptr<Engine> engine;
  try {
    // Checked first: a library that runs out of threads may end the process.
    if (const auto shortage = shortage_for(label, bytes)) throw Error(*shortage);
    engine = std::make_shared<Engine>(id, backend, plugin(backend).backend(), plan_path, options);
  } catch (...) {
    {
      std::unique_lock lock(mutex_);
      loading_.erase(place);
    }
    throw load_failure(label, bytes, std::current_exception());
  }
  std::unique_lock lock(mutex_);
  loading_.erase(place);
  keep_used(*engine);
  engines_.emplace(place, engine);
  return engine;
}

/// Called with mutex_ held.
void EngineManager::keep_used(Engine& engine) {
  std::vector<std::shared_ptr<Engine>> used;
  for (const EngineId id : engine.uses()) {
    if (id == engine.id()) fail(Kind::InvalidInput, engine.label(), " calls itself");
    const auto found = engines_.find(id);
    if (found == engines_.end() || retired_.count(id) != 0) {
      fail(Kind::NotFound, engine.label(), " calls engine ", id, ", which is not loaded: load that first");
    }
    used.push_back(found->second);
  }
  engine.keep(std::move(used));
}

void EngineManager::retire(EngineId place) {
  std::unique_lock lock(mutex_);
  const auto found = engines_.find(place);
  if (found == engines_.end() || retired_.count(place) != 0) fail_unknown(id_of_place(place));
  std::string users;
  for (const auto& [_, engine] : engines_) {
    const auto uses = engine->uses();
    if (!std::binary_search(uses.begin(), uses.end(), place)) continue;
    users += (users.empty() ? "" : ", ") + engine->label();
  }
  if (!users.empty()) fail(Kind::Conflict, found->second->label(), " is used by ", users, ": unload that first");
  retired_.insert(place);
}

void EngineManager::reinstate(EngineId place) {
  std::unique_lock lock(mutex_);
  retired_.erase(place);
}

void EngineManager::exchange(EngineId id) {
  std::unique_lock lock(mutex_);
  const auto found = engines_.find(id);
  const auto other = engines_.find(beside(id));
  if (found == engines_.end() || other == engines_.end()) fail_unknown(id);
  std::swap(found->second, other->second);
  const auto& serves = found->second;
  for (const auto& [_, user] : engines_) {
    auto used = user->kept();
    const auto former = std::find(used.begin(), used.end(), other->second);
    if (former == used.end()) continue;
    *former = serves;
    user->keep(std::move(used));
  }
}

void EngineManager::unload(EngineId place, Clock& clock, TimePoint deadline, bool left_behind) {
  std::shared_ptr<Engine> engine;
  {
    std::unique_lock lock(mutex_);
    const auto found = engines_.find(place);
    if (found == engines_.end()) fail_unknown(id_of_place(place));
    engine = std::move(found->second);
    engines_.erase(found);
    retired_.erase(place);
  }
  const bool ended = engine->close(clock, left_behind ? TimePoint::min() : deadline);
  if (!ended || left_behind) return;
  engine->synchronize();
  std::vector<at::Device> devices;
  for (const auto& replica : engine->replicas()) devices.push_back(replica->device());
  const auto gone = engine->gone();
  engine.reset();
  if (!gone->wait(clock, deadline)) return;
  for (const at::Device device : devices) release_unused(device);
}

std::shared_ptr<Engine> EngineManager::find(EngineId place) const {
  std::shared_lock lock(mutex_);
  const auto found = engines_.find(place);
  if (found == engines_.end()) fail_unknown(id_of_place(place));
  return found->second;
}

std::shared_ptr<Engine> EngineManager::find_named(const std::string& name) const {
  std::shared_ptr<Engine> named;
  for (auto& engine : engines()) {
    if (name.empty() || engine->name() != name) continue;
    if (named) fail(Kind::Conflict, "several loaded engines are named '", name, "': use the ID of one");
    named = std::move(engine);
  }
  if (!named) fail(Kind::NotFound, "there is no loaded engine named '", name, "'");
  return named;
}

std::vector<std::shared_ptr<Engine>> EngineManager::engines() const {
  std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<Engine>> all;
  for (const auto& [place, engine] : engines_) {
    if (!is_beside(place)) all.push_back(engine);
  }
  return all;
}

void EngineManager::publish(std::string remedy) {
  std::unique_lock lock(published_mutex);
  if (published_manager != nullptr && published_manager != this) {
    fail(Kind::Conflict, "this process has an engine manager already: ", published_remedy());
  }
  published_manager = this;
  published_remedy() = std::move(remedy);
}

void EngineManager::withdraw() {
  std::unique_lock lock(published_mutex);
  if (published_manager == this) published_manager = nullptr;
}

std::shared_ptr<Engine> find_engine(EngineId id) {
  if (is_beside(id)) fail_unknown(id);
  std::shared_lock lock(published_mutex);
  if (published_manager == nullptr) fail_unknown(id);
  return published_manager->find(id);
}

std::shared_ptr<Engine> find_engine_named(const std::string& name) {
  std::shared_lock lock(published_mutex);
  if (published_manager == nullptr) fail(Kind::NotFound, "there is no loaded engine named '", name, "'");
  return published_manager->find_named(name);
}

}  // namespace trtserve
