#include "bindings_process.h"

#include <chrono>

#include <pybind11/stl.h>
#include <torch/csrc/jit/api/module.h>

#include "core/host_memory.h"
#include "core/process_engines.h"
#include "ops/execute_engine.h"
#include "ops/wrapper.h"

namespace py = pybind11;
using namespace py::literals;

namespace trtserve {

namespace {

using NoGil = py::call_guard<py::gil_scoped_release>;

Nanoseconds nanoseconds(double seconds) {
  return std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>(seconds));
}

}  // namespace

void bind_process(py::module_& module) {
  module.def(
      "register_process_backend",
      [](const std::string& name, std::string plugin, std::vector<std::string> libraries, BackendConfig config) {
        process_engines().register_backend(name, std::move(plugin), std::move(libraries), std::move(config));
      },
      "name"_a, "plugin"_a, "libraries"_a = std::vector<std::string>(), "config"_a = BackendConfig());
  module.def(
      "load_process_engine",
      [](EngineId id, const std::string& plan, const std::string& backend, const LoadOptions& options) {
        process_engines().load({id, backend, options, OpenPlan::open(plan)});
      },
      "id"_a, "plan"_a, "backend"_a, "options"_a, NoGil());
  module.def("unload_process_engine", [](EngineId id) { process_engines().unload(id); }, "id"_a, NoGil());
  module.def(
      "close_process_engines", [](double drain_seconds) { process_engines().close(nanoseconds(drain_seconds)); },
      "drain_seconds"_a, NoGil());
  module.def("typed_module", [](EngineId id) { return make_typed_wrapper(*find_engine(id)); }, "id"_a);
  module.def(
      "carrying_module",
      [](EngineId id) {
        const auto carried = c10::make_intrusive<PlanEngine>(id);
        return make_carrying_wrapper(*find_engine(id), carried);
      },
      "id"_a);
  module.def(
      "available_host_memory",
      [](std::string meminfo, std::string cgroup, std::string mount) {
        return available_host_memory({std::move(meminfo), std::move(cgroup), std::move(mount)});
      },
      "meminfo"_a = MemoryFiles().meminfo, "cgroup"_a = MemoryFiles().cgroup, "mount"_a = MemoryFiles().mount, NoGil());
  module.def("default_device", [](EngineId id) { return default_device(*find_engine(id)).str(); }, "id"_a);
}

}  // namespace trtserve
