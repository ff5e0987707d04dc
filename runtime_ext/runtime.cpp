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

std::shared_ptr<Engine> Runtime::load(EngineId id, const std::string& plan_path, const std::string& backend,
                                      LoadOptions options) {
  // Without the lock: a load may never end, and close() does not wait for it.
  auto engine = manager_.load(id, plan_path, backend, std::move(options));
  std::shared_lock lock(lifecycle_mutex_);
  try {
    if (closed_) fail(Kind::Unavailable, "the runtime is closed");
    scheduler_.serve(engine, make_forward(make_wrapper(*engine)));
  } catch (...) {
    manager_.unload(id, *clock_, clock_->now());
    const auto failure = std::current_exception();
    if (const auto shortage = shortage_behind(engine->label(), failure)) throw Error(*shortage);
    throw explained(engine->replicas().front()->device(), engine->label(), failure);
  }
  return engine;
}

size_t Runtime::warm_up(EngineId id, const std::vector<std::vector<WarmUpInput>>& executions, Nanoseconds most) {
  return trtserve::warm_up(*manager_.find(id), executions, *clock_, clock_->now() + most);
}

void Runtime::unload(EngineId id, Nanoseconds drain, bool keep_counts) {
  std::shared_lock lock(lifecycle_mutex_);
  take_down(id, drain, keep_counts);
}

void Runtime::take_down(EngineId id, Nanoseconds drain, bool keep_counts) {
  manager_.retire(id);
  const TimePoint deadline = clock_->now() + drain;
  size_t left_behind = 0;
  try {
    left_behind = scheduler_.stop(id, drain, keep_counts);
  } catch (...) {
    manager_.reinstate(id);
    throw;
  }
  manager_.unload(id, *clock_, deadline, left_behind > 0);
}

std::vector<EngineId> Runtime::users_first() const {
  std::map<EngineId, std::vector<EngineId>> uses;  // a reference to an engine would keep its memory
  for (const auto& served : scheduler_.served()) uses[served->engine().id()] = served->engine().uses();
  std::vector<EngineId> ids;
  std::set<EngineId> seen;
  const std::function<void(EngineId)> add = [&](EngineId id) {
    if (!seen.insert(id).second) return;
    for (const EngineId used : uses[id]) add(used);
    ids.push_back(id);  // after all that it uses
  };
  for (const auto& served : scheduler_.served()) add(served->engine().id());
  std::reverse(ids.begin(), ids.end());
  return ids;
}

void Runtime::close() {
  std::unique_lock lock(lifecycle_mutex_);
  closed_ = true;
  for (const EngineId id : users_first()) take_down(id, Nanoseconds(0), /*keep_counts=*/false);
  scheduler_.close();
  manager_.withdraw();
}

}  // namespace trtserve
