#include "bindings_stats.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace trtserve {

namespace {

constexpr double kNanosecond = 1e9;  // nanoseconds per second
constexpr double kItem = 1;

std::map<std::string, uint64_t> outcomes_of(const RequestNumbers& numbers) {
  std::map<std::string, uint64_t> outcomes{{"Success", numbers.total.count()}};
  for (const Kind kind : kAllKinds) outcomes[std::string(name(kind))] = numbers.failures.at(static_cast<size_t>(kind));
  return outcomes;
}

std::vector<BatchStats> batches_of(const RequestNumbers& numbers) {
  std::vector<BatchStats> batches;
  batches.reserve(numbers.batches.size());
  for (const auto& [size, phases] : numbers.batches) batches.push_back({size, phases});
  return batches;
}

std::vector<EngineStats> each_of(EngineId id, const std::vector<NamedNumbers>& named) {
  std::vector<EngineStats> all;
  for (const auto& each : named) all.emplace_back(id, each);
  all.front().is_own = true;
  return all;
}

}  // namespace

HistogramInfo::HistogramInfo(const Histogram& histogram, double unit)
    : counts(histogram.counts()), sum(static_cast<double>(histogram.sum()) / unit) {
  for (const uint64_t bound : histogram.bounds()) bounds.push_back(static_cast<double>(bound) / unit);
}

EngineStats::EngineStats(EngineId of, const NamedNumbers& named)
    : id(of),
      name(named.name),
      outcomes(outcomes_of(named.numbers)),
      queue(named.numbers.queue, kNanosecond),
      compute(named.numbers.compute, kNanosecond),
      total(named.numbers.total, kNanosecond),
      failed(named.numbers.failed, kNanosecond),
      calls(named.numbers.calls, kNanosecond),
      batch(named.numbers.batch, kItem),
      success(named.numbers.total.duration()),
      fail(named.numbers.failed.duration()),
      queue_time(named.numbers.queue.duration()),
      phases(named.numbers.phases),
      inference_count(named.numbers.inferences),
      execution_count(named.numbers.batch.count()),
      last_inference_ms(named.numbers.last_inference.count()),
      batches(batches_of(named.numbers)),
      failed_executions(named.numbers.failed_executions),
      undivided_batches(named.numbers.undivided_batches) {}

std::vector<EngineStats> stats_of(const ServedEngine& served) {
  auto all = each_of(served.engine().id(), served.stats());
  auto& own = all.front();
  own.counters = served.counters();
  own.queue_depth = served.queue_depth();
  own.instances = served.instances();
  own.instances_busy = served.instances_busy();
  own.executions_stuck = served.stuck().executions;
  return all;
}

std::vector<EngineStats> stats_of(const Scheduler::Former& former) {
  auto all = each_of(former.id, former.counts.requests->snapshot());
  all.front().counters = former.counts.backend;
  return all;
}

Condition::Condition(const ServedEngine& served, const Stuck& stuck)
    : instances(served.instances()),
      executions_stuck(stuck.executions),
      longest_stuck_seconds(std::chrono::duration<double>(stuck.longest).count()),
      joins_requests(served.joins_requests()),
      requests(served.open_requests()),
      leases(served.leases()),
      unused_seconds(std::chrono::duration<double>(served.unused_for()).count()),
      last_used_ns(Nanoseconds(served.last_used().time_since_epoch()).count()) {}

void bind_stats(py::module_& module) {
  py::class_<HistogramInfo>(module, "Histogram")
      .def_readonly("bounds", &HistogramInfo::bounds)
      .def_readonly("counts", &HistogramInfo::counts)
      .def_readonly("sum", &HistogramInfo::sum);

  py::class_<Duration>(module, "Duration").def_readonly("count", &Duration::count).def_readonly("ns", &Duration::ns);

  py::class_<BatchStats>(module, "BatchStats")
      .def_readonly("size", &BatchStats::size)
      .def_property_readonly("compute_input", [](const BatchStats& batch) { return batch.phases.input; })
      .def_property_readonly("compute_infer", [](const BatchStats& batch) { return batch.phases.infer; })
      .def_property_readonly("compute_output", [](const BatchStats& batch) { return batch.phases.output; });

  py::class_<EngineStats>(module, "EngineStats")
      .def_readonly("id", &EngineStats::id)
      .def_readonly("name", &EngineStats::name)
      .def_readonly("is_own", &EngineStats::is_own)
      .def_readonly("outcomes", &EngineStats::outcomes)
      .def_readonly("queue", &EngineStats::queue)
      .def_readonly("compute", &EngineStats::compute)
      .def_readonly("total", &EngineStats::total)
      .def_readonly("failed", &EngineStats::failed)
      .def_readonly("calls", &EngineStats::calls)
      .def_readonly("batch", &EngineStats::batch)
      .def_readonly("success", &EngineStats::success)
      .def_readonly("fail", &EngineStats::fail)
      .def_readonly("queue_time", &EngineStats::queue_time)
      .def_property_readonly("compute_input", [](const EngineStats& stats) { return stats.phases.input; })
      .def_property_readonly("compute_infer", [](const EngineStats& stats) { return stats.phases.infer; })
      .def_property_readonly("compute_output", [](const EngineStats& stats) { return stats.phases.output; })
      .def_readonly("inference_count", &EngineStats::inference_count)
      .def_readonly("execution_count", &EngineStats::execution_count)
      .def_readonly("last_inference_ms", &EngineStats::last_inference_ms)
      .def_readonly("batches", &EngineStats::batches)
      .def_readonly("counters", &EngineStats::counters)
      .def_readonly("queue_depth", &EngineStats::queue_depth)
      .def_readonly("instances", &EngineStats::instances)
      .def_readonly("instances_busy", &EngineStats::instances_busy)
      .def_readonly("failed_executions", &EngineStats::failed_executions)
      .def_readonly("undivided_batches", &EngineStats::undivided_batches)
      .def_readonly("executions_stuck", &EngineStats::executions_stuck);

  py::class_<Condition>(module, "Condition")
      .def_readonly("instances", &Condition::instances)
      .def_readonly("executions_stuck", &Condition::executions_stuck)
      .def_readonly("longest_stuck_seconds", &Condition::longest_stuck_seconds)
      .def_readonly("joins_requests", &Condition::joins_requests)
      .def_readonly("requests", &Condition::requests)
      .def_readonly("leases", &Condition::leases)
      .def_readonly("unused_seconds", &Condition::unused_seconds)
      .def_readonly("last_used_ns", &Condition::last_used_ns);
}

}  // namespace trtserve
