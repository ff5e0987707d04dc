#include "runtime.h"

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "core/device_health.h"
#include "core/shortage.h"
#include "ops/wrapper.h"

namespace trtserve {

Runtime::Runtime(std::shared_ptr<Clock> clock, Nanoseconds stuck_after)
    : clock_(std::move(clock)), scheduler_({.completions = completions_, .clock = clock_, .stuck_after = stuck_after}) {
  manager_.publish(
      "it is a runtime's: close that first, or load the engine with its load() and call it with runtime_ext.module()");
}

Runtime::~Runtime() {
  close();
  completions_->close();
}

std::shared_ptr<Engine> Runtime::load(EngineId place, const std::string& plan_path, const std::string& backend,
                                      const LoadOptions& options) {
  // Without the lock: a load may never end, and close() does not wait for it.
  auto engine = manager_.load(place, plan_path, backend, options);
  std::shared_lock lock(lifecycle_mutex_);
  try {
    if (closed_) fail(Kind::Unavailable, "the runtime is closed");
    scheduler_.serve(place, engine, make_forward(make_wrapper(*engine), engine));
  } catch (...) {
    manager_.unload(place, *clock_, clock_->now());
    const auto failure = std::current_exception();
    if (const auto shortage = shortage_behind(engine->label(), failure)) throw Error(*shortage);
    throw explained(engine->replicas().front()->device(), engine->label(), failure);
  }
  return engine;
}

size_t Runtime::warm_up(EngineId place, const std::vector<std::vector<WarmUpInput>>& executions, Nanoseconds most) {
  return trtserve::warm_up(*manager_.find(place), executions, *clock_, clock_->now() + most);
}

void Runtime::exchange(EngineId id) {
  // First, because it refuses while one of them is being unloaded. Between the two, operators may still find the former
  // one, which goes on working.
  scheduler_.exchange(id);
  manager_.exchange(id);
}

void Runtime::unload(EngineId place, Nanoseconds drain, bool keep_counts) {
  std::shared_lock lock(lifecycle_mutex_);
  take_down(place, drain, keep_counts);
}

void Runtime::take_down(EngineId place, Nanoseconds drain, bool keep_counts) {
  manager_.retire(place);
  const TimePoint deadline = clock_->now() + drain;
  size_t left_behind = 0;
  try {
    left_behind = scheduler_.stop(place, drain, keep_counts);
  } catch (...) {
    manager_.reinstate(place);
    throw;
  }
  manager_.unload(place, *clock_, deadline, left_behind > 0);
}

std::vector<EngineId> Runtime::users_first() const {
  std::map<EngineId, std::vector<EngineId>> uses;  // by place; a reference to an engine would keep its memory
  for (const auto& [place, served] : scheduler_.places()) uses[place] = served->engine().uses();
  std::vector<EngineId> places;
  std::set<EngineId> seen;
  const std::function<void(EngineId)> add = [&](EngineId place) {
    if (!seen.insert(place).second) return;
    for (const EngineId used : uses[place]) add(used);
    places.push_back(place);  // after all that it uses
  };
  for (const auto& [place, _] : scheduler_.places()) add(place);
  std::reverse(places.begin(), places.end());
  return places;
}

void Runtime::close() {
  std::unique_lock lock(lifecycle_mutex_);
  closed_ = true;
  for (const EngineId place : users_first()) take_down(place, Nanoseconds(0), /*keep_counts=*/false);
  scheduler_.close();
  manager_.withdraw();
}

}  // namespace trtserve
