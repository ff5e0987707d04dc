#include "core/process_engines.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/plan_backend.h"

namespace trtserve {

namespace {

constexpr Nanoseconds kDrain = std::chrono::seconds(30);

/// Refuses options that differ, except for the name: it is only for people.
void check_alike(EngineId id, const LoadOptions& loaded, const LoadOptions& asked) {
  LoadOptions::fields([&](std::string_view option, auto member) {
    if (option == "name" || loaded.*member == asked.*member) return;
    fail(Kind::Conflict, "engine ", id, " is loaded already with another value of the option ", option,
         ": ask for the same, or unload it first");
  });
}

void check_alike(const EngineSource& loaded, const EngineSource& asked) {
  if (loaded.plan != asked.plan && !loaded.plan->same_bytes(*asked.plan)) {
    fail(Kind::Conflict, "engine ", asked.id, " is loaded already from another plan: the ID was not made from this ",
         "plan, or the first 52 bits of the digests of both are the same");
  }
  check_alike(asked.id, loaded.options, asked.options);
}

/// The backend that was asked for, or one for the plan: another generation of TensorRT may read it too.
std::string chosen_backend(const EngineSource& source, const std::vector<std::string>& backends) {
  const bool here = std::find(backends.begin(), backends.end(), source.backend) != backends.end();
  const bool open = source.backend.empty() || (!here && source.backend.starts_with("tensorrt"));
  return open ? backend_for(source.plan->head(kPlanHead), backends) : source.backend;
}

[[noreturn]] void fail_unknown(EngineId id) {
  fail(Kind::NotFound, "there is no engine ", id, " that load_engine or a module with its plan has loaded here");
}

}  // namespace

ProcessEngines::Hold ProcessEngines::hold(EngineSource source) {
  const EngineId id = source.id;
  Lock lock(mutex_);
  const auto entry = settled(id, lock);
  if (entry == entries_.end()) return load_first(std::move(source), lock);
  const auto loaded = entry->second.source;
  Hold held = hold_loaded(id, entry->second);
  lock.unlock();
  check_alike(*loaded, source);
  return held;
}

ProcessEngines::Hold ProcessEngines::hold(EngineId id) {
  Lock lock(mutex_);
  return hold_loaded(id, found(id, lock));
}

std::shared_ptr<const EngineSource> ProcessEngines::source(EngineId id) const {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) fail_unknown(id);
  return entry->second.source;
}

void ProcessEngines::load(EngineSource source) {
  const EngineId id = source.id;
  Hold held = hold(std::move(source));
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.life != held.life_) fail_unknown(id);  // close() came in between
  ++entry->second.loads;
  held.engines_ = nullptr;  // unload() ends it
}

void ProcessEngines::unload(EngineId id) {
  Lock lock(mutex_);
  Entry& entry = found(id, lock);
  if (entry.loads == 0) {
    fail(Kind::NotFound, "engine ", id, " was not loaded with load_engine, or was unloaded as often as it was loaded: ",
         "modules with its plan keep it");
  }
  --entry.loads;
  drop_hold(id, entry, lock);
}

void ProcessEngines::close(Nanoseconds drain) {
  Lock lock(mutex_);
  while (!entries_.empty()) {
    const auto entry =
        std::find_if(entries_.begin(), entries_.end(), [](const auto& each) { return !each.second.busy; });
    if (entry == entries_.end()) {
      changed_.wait(lock);
    } else {
      take_down(entry->first, entry->second, drain, lock);
    }
  }
}

/// The entry once nobody loads or unloads the engine; the end if there is none.
ProcessEngines::Entries::iterator ProcessEngines::settled(EngineId id, Lock& lock) {
  auto entry = entries_.find(id);
  while (entry != entries_.end() && entry->second.busy) {
    changed_.wait(lock);
    entry = entries_.find(id);
  }
  return entry;
}

ProcessEngines::Entry& ProcessEngines::found(EngineId id, Lock& lock) {
  const auto entry = settled(id, lock);
  if (entry == entries_.end()) fail_unknown(id);
  return entry->second;
}

ProcessEngines::Hold ProcessEngines::hold_loaded(EngineId id, Entry& entry) {
  ++entry.holds;
  return {this, id, entry.life};
}

ProcessEngines::Hold ProcessEngines::load_first(EngineSource source, Lock& lock) {
  source.backend = chosen_backend(source, manager_.backends());
  manager_.publish(
      "it has engines of load_engine or of modules with a plan inside: runtime_ext.shutdown() unloads these");
  const EngineId id = source.id;
  const auto shared = std::make_shared<const EngineSource>(std::move(source));
  Entry& entry = entries_[id];
  entry = {.source = shared, .life = ++lives_, .holds = 1, .busy = true};
  lock.unlock();
  try {
    manager_.load(id, shared->plan->path(), shared->backend, shared->options);
  } catch (...) {
    lock.lock();
    forget(id);
    throw;
  }
  lock.lock();
  entry.busy = false;
  changed_.notify_all();
  return {this, id, entry.life};
}

void ProcessEngines::release(EngineId id, uint64_t life) noexcept {
  Lock lock(mutex_);
  const auto entry = settled(id, lock);
  if (entry != entries_.end() && entry->second.life == life) drop_hold(id, entry->second, lock);
}

void ProcessEngines::drop_hold(EngineId id, Entry& entry, Lock& lock) {
  if (--entry.holds == 0) take_down(id, entry, kDrain, lock);
}

void ProcessEngines::take_down(EngineId id, Entry& entry, Nanoseconds drain, Lock& lock) {
  entry.busy = true;
  const auto plan = entry.source->plan;
  lock.unlock();
  bool gone = false;
  try {
    const auto end = manager_.find(id)->gone();
    manager_.unload(id, clock_, clock_.now() + drain);
    gone = end->wait(clock_, TimePoint::min());
  } catch (const std::exception& failure) {
    log(Severity::Error, "engines", c10::str("engine ", id, " was not unloaded as it should be: ", failure.what()));
  }
  lock.lock();
  if (!gone) left_behind_.push_back(plan);  // its backend may still read it
  forget(id);
}

void ProcessEngines::forget(EngineId id) {
  entries_.erase(id);
  if (entries_.empty()) manager_.withdraw();
  changed_.notify_all();
}

ProcessEngines& process_engines() {
  static ProcessEngines& engines = *std::make_unique<ProcessEngines>().release();
  return engines;
}

}  // namespace trtserve
