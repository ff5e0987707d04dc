// The seam between Python and C++; _C.pyi describes it.
//
// The GIL: calls that may block or take long release it, and worker threads never hold it. Python objects are used only
// here and in bindings_*.cpp, and are created and destroyed with the GIL.

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/jit/api/module.h>

#include "bindings_engine.h"
#include "bindings_grpc.h"
#include "bindings_heads.h"
#include "bindings_json.h"
#include "bindings_numbers.h"
#include "bindings_options.h"
#include "bindings_process.h"
#include "bindings_stats.h"
#include "bindings_tensors.h"
#include "bindings_text.h"
#include "core/device_health.h"
#include "core/log.h"
#include "core/memory.h"
#include "ops/module_file.h"
#include "ops/wrapper.h"
#include "runtime.h"

namespace py = pybind11;
using namespace py::literals;

namespace trtserve {
namespace {

using NoGil = py::call_guard<py::gil_scoped_release>;

/// Closes the runtime when Python drops it: without the GIL, since it waits for threads. A failure can only be logged.
struct CloseRuntime {
  void operator()(Runtime* runtime) const {
    const std::unique_ptr<Runtime> owned(runtime);
    const py::gil_scoped_release no_gil;
    try {
      owned->close();
    } catch (const std::exception& error) {
      log(Severity::Error, "runtime", c10::str("the runtime was not closed cleanly: ", error.what()));
    }
  }
};
using RuntimeHolder = std::unique_ptr<Runtime, CloseRuntime>;

/// The free and the total bytes of an accelerator; none if this process has no such device, or it does not tell.
std::optional<std::pair<int64_t, int64_t>> memory_of_device(const Runtime& /*runtime*/, const std::string& name) {
  const auto type = at::getAccelerator();
  if (!type) return std::nullopt;
  try {
    const at::Device device(name);
    if (device.type() != *type) return std::nullopt;
    if (device.index() >= c10::impl::VirtualGuardImpl(*type).deviceCount()) return std::nullopt;
    at::globalContext().lazyInitDevice(*type);
    const auto memory = device_memory(device);
    return memory.total == 0 ? std::nullopt : std::optional(std::pair(memory.free, memory.total));
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

Nanoseconds nanoseconds(double seconds) {
  // A year is long enough; a longer time would overflow a time point.
  return std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>(std::clamp(seconds, 0.0, 3.2e7)));
}

std::string graph_text(const Engine& engine) {
  return make_wrapper(engine).get_method("forward").graph()->toString(/*print_source_locations=*/false);
}

using Seconds = std::chrono::duration<double>;

Ticket queued(Runtime& runtime, const Prepared& prepared, Request request, std::optional<int64_t> timeout_ns,
              int priority) {
  if (priority < 0 || priority >= static_cast<int>(kPriorities)) {
    fail(Kind::InvalidInput, "priority is ", priority, "; allowed are 0 (high), 1 (normal) and 2 (low)");
  }
  request.priority = static_cast<Priority>(priority);
  const auto timeout = timeout_ns
                           ? std::optional(Nanoseconds(std::clamp<int64_t>(*timeout_ns, 0, 1'000'000'000'000'000)))
                           : std::nullopt;
  // Keeps the GIL: the queue's lock is held only for bookkeeping. On a refusal, the buffers are released here, with the
  // GIL.
  return runtime.scheduler().submit(prepared.engine, std::move(request), timeout);
}

Ticket submit(Runtime& runtime, const Prepared& prepared, py::handle data, size_t offset,
              std::optional<int64_t> timeout_ns, int priority) {
  return queued(runtime, prepared, make_request(prepared, data, offset), timeout_ns, priority);
}

Ticket submit_message(Runtime& runtime, const Prepared& prepared, std::shared_ptr<GrpcMessage> message,
                      std::optional<int64_t> timeout_ns, int priority) {
  return queued(runtime, prepared, make_request(prepared, std::move(message)), timeout_ns, priority);
}

Prepared prepare(const Runtime& runtime, EngineId id, const std::vector<DescribedTensor>& tensors,
                 const std::string& name) {
  return {id, runtime.scheduler().sign(id, tensor_shapes(tensors), name)};
}

/// For Python, without those that only return an owner: it is destroyed here, with the GIL.
std::vector<std::shared_ptr<Completion>> shared(std::vector<Completion> completions) {
  std::vector<std::shared_ptr<Completion>> taken;
  taken.reserve(completions.size());
  for (auto& completion : completions) {
    if (completion.ticket != 0) taken.push_back(std::make_shared<Completion>(std::move(completion)));
  }
  return taken;
}

int64_t ns_of(TimePoint time) { return Nanoseconds(time.time_since_epoch()).count(); }

/// One tuple, because who asks for one of the times needs them all.
py::tuple times_of(const Completion& completion) {
  const auto& times = completion.times;
  return py::make_tuple(completion.execution, ns_of(completion.arrival), ns_of(times.start), ns_of(times.gathered),
                        ns_of(times.inferred), ns_of(times.end));
}

/// As (ID, name, begin, end, kind of failure or None).
py::list calls_of(const Completion& completion) {
  py::list calls;
  if (!completion.calls) return calls;
  for (const auto& call : *completion.calls) {
    const auto failure = call.failure ? std::optional(std::string(name(*call.failure))) : std::nullopt;
    calls.append(py::make_tuple(call.engine, sentence(call.name), ns_of(call.start), ns_of(call.end), failure));
  }
  return calls;
}

void bind_error(py::module_& module) {
  // Never freed: exceptions are translated until the interpreter ends.
  static PyObject* const type = py::exception<Error>(module, "Error").release().ptr();
  py::register_exception_translator(
      [](std::exception_ptr pointer) {  // NOLINT(performance-unnecessary-value-param): pybind11's signature
        try {
          if (pointer) std::rethrow_exception(pointer);
        } catch (const Error& error) {
          const py::object raised = py::handle(type)(sentence(error.what()));
          raised.attr("kind") = std::string(name(error.kind()));
          const auto after = error.retry_after();
          raised.attr("retry_after") = after ? py::cast(Seconds(*after).count()) : py::none();
          PyErr_SetObject(type, raised.ptr());
        }
      });
  py::list kinds;
  for (const Kind kind : kAllKinds) kinds.append(std::string(name(kind)));
  module.attr("KINDS") = py::tuple(kinds);
}

void bind_completion(py::module_& module) {
  // Held by shared_ptr: the Python object has the last reference, so the input owner is destroyed with the GIL.
  py::class_<Completion, std::shared_ptr<Completion>>(module, "Completion")
      .def_readonly("ticket", &Completion::ticket)
      .def_property_readonly("kind",
                             [](const Completion& c) {
                               return c.failure ? std::optional(std::string(name(c.failure->kind))) : std::nullopt;
                             })
      .def_property_readonly("message",
                             [](const Completion& c) { return sentence(c.failure ? c.failure->message : ""); })
      .def_property_readonly("outputs", &outputs_of)
      .def_property_readonly("shapes", &shapes_of)
      .def("data", &data_of, "index"_a)
      .def_property_readonly("memory", &memory_of)
      .def_property_readonly("queue_ns", [](const Completion& c) { return c.queue.count(); })
      .def_property_readonly("compute_ns", [](const Completion& c) { return c.compute.count(); })
      .def_readonly("batch_requests", &Completion::batch_requests)
      .def_property_readonly("times", &times_of)
      .def_property_readonly("calls", &calls_of);
}

void bind_log(py::module_& module) {
  py::class_<LogRecord>(module, "LogRecord")
      .def_property_readonly("severity",
                             [](const LogRecord& record) {
                               static constexpr std::array kNames = {"debug", "info", "warning", "error"};
                               return kNames.at(static_cast<size_t>(record.severity));
                             })
      .def_readonly("component", &LogRecord::component)
      .def_property_readonly("message", [](const LogRecord& record) { return sentence(record.message); });
  module.def("log_fd", &log_fd);
  module.def("take_log", &take_log);
}

void bind_clock(py::module_& module) {
  py::class_<ManualClock, std::shared_ptr<ManualClock>>(module, "ManualClock")
      .def(py::init([](int64_t tick_ns) { return std::make_shared<ManualClock>(Nanoseconds(tick_ns)); }), py::kw_only(),
           "tick_ns"_a = 0)
      .def("advance", [](ManualClock& clock, int64_t ns) { clock.advance(Nanoseconds(ns)); }, "ns"_a);
}

void bind_runtime(py::module_& module) {
  py::class_<Runtime, RuntimeHolder>(module, "Runtime")
      .def(py::init([](const std::shared_ptr<ManualClock>& manual, double stuck_after_s) {
             const auto clock = manual ? std::shared_ptr<Clock>(manual) : std::make_shared<SteadyClock>();
             return RuntimeHolder(std::make_unique<Runtime>(clock, nanoseconds(stuck_after_s)).release());
           }),
           py::kw_only(), "clock"_a = nullptr, "stuck_after_s"_a = 60.0)
      .def(
          "register_backend",
          [](Runtime& runtime, const std::string& name, std::string plugin, std::vector<std::string> libraries,
             BackendConfig config) {
            runtime.manager().register_backend(name, std::move(plugin), std::move(libraries), std::move(config));
          },
          "name"_a, "plugin"_a, "libraries"_a = std::vector<std::string>(), "config"_a = BackendConfig())
      .def("backends", [](const Runtime& runtime) { return runtime.manager().backends(); })
      .def(
          "backend_version",
          [](const Runtime& runtime, const std::string& name) { return runtime.manager().backend_version(name); },
          "name"_a, NoGil())
      .def(
          "backend_builds",
          [](const Runtime& runtime, const std::string& name) { return runtime.manager().backend_builds(name); },
          "backend"_a, NoGil())
      .def(
          "devices_of",
          [](const Runtime& runtime, const std::string& backend, const std::string& option) {
            return runtime.manager().devices_of(backend, option);
          },
          "backend"_a, "option"_a, NoGil())
      .def(
          "build",
          [](const Runtime& runtime, const std::string& backend, const std::string& model, const std::string& plan,
             const BuildOptions& options,
             BuildProgress& progress) { runtime.manager().build(backend, model, plan, options, progress); },
          "backend"_a, "model"_a, "plan"_a, "options"_a, "progress"_a, NoGil())
      .def(
          "inspect_module",
          [](const Runtime& runtime, const std::string& path, const std::string& tensors) {
            return runtime.manager().inspect("torchscript", path, tensors);
          },
          "path"_a, "tensors"_a = "", NoGil())
      .def(
          "load",
          [](Runtime& runtime, EngineId place, const std::string& plan, const std::string& backend,
             const LoadOptions& options) { return info_of(runtime, *runtime.load(place, plan, backend, options)); },
          "id"_a, "plan"_a, "backend"_a, "options"_a, NoGil())
      .def(
          "warm_up",
          [](Runtime& runtime, EngineId id,
             const std::vector<std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>>>& executions,
             double most_seconds) {
            std::vector<std::vector<WarmUpInput>> told;
            for (const auto& execution : executions) {
              auto& inputs = told.emplace_back();
              for (const auto& [shape, values] : execution) inputs.push_back({shape, values});
            }
            return runtime.warm_up(id, told, nanoseconds(most_seconds));
          },
          "id"_a, "executions"_a, "most_seconds"_a, NoGil())
      .def(
          "write_compiled",
          [](const Runtime& runtime, EngineId id, const std::string& path) {
            return runtime.manager().find(id)->first().write_compiled(path);
          },
          "id"_a, "path"_a, NoGil())
      .def(
          "unload",
          [](Runtime& runtime, EngineId id, double drain_seconds, bool keep_counts) {
            runtime.unload(id, nanoseconds(drain_seconds), keep_counts);
          },
          "id"_a, "drain_seconds"_a = 30.0, "keep_counts"_a = false, NoGil())
      // Keeps the GIL: a request that is submitted now must go where the caller thinks it does.
      .def("exchange", &Runtime::exchange, "id"_a)
      .def(
          "forget", [](Runtime& runtime, EngineId id) { runtime.scheduler().forget(id); }, "id"_a, NoGil())
      .def(
          "memory", [](const Runtime& runtime, EngineId id) { return runtime.manager().find(id)->memory(); }, "id"_a,
          NoGil())
      .def("device_memory", &memory_of_device, "device"_a, NoGil())
      .def("engines",
           [](const Runtime& runtime) {
             std::vector<EngineInfo> infos;
             for (const auto& engine : runtime.manager().engines()) infos.push_back(info_of(runtime, *engine));
             return infos;
           })
      .def(
          "engine", [](const Runtime& runtime, EngineId id) { return info_of(runtime, *runtime.manager().find(id)); },
          "id"_a)
      .def(
          "stop_joining",
          [](Runtime& runtime, EngineId id, std::string why) {
            runtime.scheduler().find(id)->stop_joining(std::move(why));
          },
          "id"_a, "why"_a, NoGil())
      .def(
          "graph", [](const Runtime& runtime, EngineId id) { return graph_text(*runtime.manager().find(id)); }, "id"_a,
          NoGil())
      .def(
          "layers",
          [](const Runtime& runtime, EngineId id) {
            std::string json;
            {
              const py::gil_scoped_release no_gil;
              json = runtime.manager().find(id)->first().layers();
            }
            return sentence(json);
          },
          "id"_a)
      .def("dead_devices", [](const Runtime&) { return dead_devices(); })
      .def(
          "module_bytes",
          [](const Runtime& runtime, EngineId id) {
            std::string file;
            {
              const py::gil_scoped_release no_gil;
              file = module_file(*runtime.manager().find(id));
            }
            return py::bytes(file);
          },
          "id"_a)
      .def(
          "write_module",
          [](const Runtime& runtime, EngineId id, const std::string& plan, int fd) {
            // Whoever takes the file may be slow, and no unload should wait for that: the engine is let go before.
            const auto module = carrying_module(*runtime.manager().find(id), plan);
            write_module(module, fd);
          },
          "id"_a, "plan"_a, "fd"_a, NoGil())
      .def(
          "script_module",
          [](const Runtime& runtime, EngineId id) { return make_wrapper(*runtime.manager().find(id)); }, "id"_a)
      .def("prepare", &prepare, "id"_a, "tensors"_a, "name"_a = "")
      .def("submit", &submit, "prepared"_a, "data"_a, "offset"_a = 0, "timeout_ns"_a = std::nullopt, "priority"_a = 1)
      .def("submit_message", &submit_message, "prepared"_a, "message"_a, "timeout_ns"_a = std::nullopt,
           "priority"_a = 1)
      .def(
          "cancel", [](Runtime& runtime, EngineId id, Ticket ticket) { return runtime.scheduler().cancel(id, ticket); },
          "id"_a, "ticket"_a, NoGil())
      .def("completion_fd", [](Runtime& runtime) { return runtime.completions().fd(); })
      .def("take_completions", [](Runtime& runtime) { return shared(runtime.completions().take()); })
      .def(
          "hold_short_requests", [](Runtime& runtime, bool hold) { runtime.scheduler().hold_short_requests(hold); },
          "hold"_a)
      // Keeps the GIL: only executions that are known to be short run here, and nothing else in the process waits for
      // the GIL that they need.
      .def("run_held",
           [](Runtime& runtime) {
             if (!runtime.scheduler().run_held()) return std::vector<std::shared_ptr<Completion>>();
             return shared(runtime.completions().take_now());
           })
      .def(
          "stats",
          [](const Runtime& runtime) {
            std::vector<EngineStats> stats;
            const auto add = [&stats](std::vector<EngineStats> more) {
              std::move(more.begin(), more.end(), std::back_inserter(stats));
            };
            for (const auto& served : runtime.scheduler().served()) add(stats_of(*served));
            for (const auto& former : runtime.scheduler().former()) add(stats_of(former));
            return stats;
          },
          NoGil())
      .def(
          "condition", [](const Runtime& runtime, EngineId id) { return Condition(*runtime.scheduler().find(id)); },
          "id"_a)
      .def("left_behind",
           [](const Runtime& runtime) {
             const auto& left_behind = runtime.scheduler().left_behind();
             return std::pair(left_behind.ever.load(), left_behind.running.load());
           })
      .def("close", &Runtime::close, NoGil());
}

}  // namespace
}  // namespace trtserve

// Threads share these objects only under the core's locks.
PYBIND11_MODULE(_C, module) {
  trtserve::bind_error(module);
  trtserve::bind_tensors(module);
  trtserve::bind_grpc(module);
  trtserve::bind_heads(module);
  trtserve::bind_numbers(module);
  trtserve::bind_json(module);
  trtserve::bind_options(module);
  trtserve::bind_build(module);
  trtserve::bind_engine(module);
  trtserve::bind_inspection(module);
  trtserve::bind_completion(module);
  trtserve::bind_stats(module);
  module.attr("BESIDE") = trtserve::kBeside;
  trtserve::bind_log(module);
  trtserve::bind_clock(module);
  trtserve::bind_runtime(module);
  trtserve::bind_process(module);
}
