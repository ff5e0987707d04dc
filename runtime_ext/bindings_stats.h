#pragma once

#include <vector>

#include <pybind11/pybind11.h>

#include "core/scheduler.h"

namespace trtserve {

/// A histogram for Python and Prometheus: durations in seconds, items as counts.
struct HistogramInfo {
  HistogramInfo(const Histogram& histogram, double unit);

  std::vector<double> bounds;
  std::vector<uint64_t> counts;
  double sum;
};

/// The executions with one number of items.
struct BatchStats {
  uint64_t size;
  Phases phases;
};

/// An engine's statistics under one name: a copy, so that it does not keep the engine resident. The request statistics
/// of all names are from one moment; the backend's counters, queue depth and instances are read after it.
struct EngineStats {
  /// Without what only an engine in service has, and what it has only once, whatever it is called.
  EngineStats(EngineId of, const NamedNumbers& named);

  EngineId id;
  std::string name;
  std::map<std::string, uint64_t> outcomes;
  HistogramInfo queue;
  HistogramInfo compute;
  HistogramInfo total;
  HistogramInfo failed;
  HistogramInfo calls;
  HistogramInfo batch;
  Duration success;
  Duration fail;
  Duration queue_time;
  Phases phases;
  bool is_own = false;
  uint64_t inference_count;
  uint64_t execution_count;
  int64_t last_inference_ms;
  std::vector<BatchStats> batches;
  std::map<std::string, int64_t> counters;
  size_t queue_depth = 0;
  size_t instances = 0;
  size_t instances_busy = 0;
  uint64_t failed_executions;
  uint64_t undivided_batches;
  size_t executions_stuck = 0;
};

/// Of each name by which an engine was called, its own first.
std::vector<EngineStats> stats_of(const ServedEngine& served);
/// Of an engine that is out of service, and whose counts are kept.
std::vector<EngineStats> stats_of(const Scheduler::Former& former);

/// An engine's current condition, without statistics: cheap to query.
struct Condition {
  explicit Condition(const ServedEngine& served) : Condition(served, served.stuck()) {}
  Condition(const ServedEngine& served, const Stuck& stuck);

  size_t instances;
  size_t executions_stuck;
  double longest_stuck_seconds;
  bool joins_requests;
  size_t requests;
  size_t leases;
  double unused_seconds;
  int64_t last_used_ns;
};

void bind_stats(pybind11::module_& module);

}  // namespace trtserve
