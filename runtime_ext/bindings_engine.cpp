#include "bindings_engine.h"

#include <pybind11/stl.h>

#include "bindings_text.h"
#include "core/module_inspection.h"
#include "ops/execute_engine.h"

namespace py = pybind11;
using namespace py::literals;

namespace trtserve {

namespace {

std::vector<std::string> devices_of(const Engine& engine) {
  std::vector<std::string> devices;
  for (const auto& replica : engine.replicas()) devices.push_back(replica->device().str());
  return devices;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ",") + name;
  return text;
}

}  // namespace

EngineInfo::EngineInfo(const Engine& engine, const ServedEngine* served)
    : id(engine.id()),
      name(engine.name()),
      backend(engine.backend()),
      device(joined(devices_of(engine))),
      devices(devices_of(engine)),
      instances(static_cast<int>(engine.replicas().front()->instances())),
      max_queue_size(engine.options().max_queue_size),
      max_batch_size(served != nullptr ? served->max_items() : 1),
      why_not_joined(served != nullptr ? served->why_not_joined() : ""),
      inputs(engine.inputs()),
      outputs(engine.outputs()),
      properties(engine.properties()),
      uses(engine.uses()) {}

EngineInfo info_of(const Runtime& runtime, const Engine& engine) {
  for (const EngineId place : {engine.id(), beside(engine.id())}) {
    const auto served = runtime.scheduler().find_if_served(place);
    if (served && &served->engine() == &engine) return {engine, served.get()};
  }
  return {engine, nullptr};
}

void bind_engine(py::module_& module) {
  py::class_<EngineInfo>(module, "EngineInfo")
      .def_readonly("id", &EngineInfo::id)
      .def_readonly("name", &EngineInfo::name)
      .def_readonly("backend", &EngineInfo::backend)
      .def_readonly("device", &EngineInfo::device)
      .def_readonly("devices", &EngineInfo::devices)
      .def_readonly("instances", &EngineInfo::instances)
      .def_readonly("max_queue_size", &EngineInfo::max_queue_size)
      .def_readonly("max_batch_size", &EngineInfo::max_batch_size)
      .def_property_readonly(
          "why_not_joined",
          [](const EngineInfo& info) { return info.why_not_joined.empty() ? "" : sentence(info.why_not_joined); })
      .def_readonly("inputs", &EngineInfo::inputs)
      .def_readonly("outputs", &EngineInfo::outputs)
      .def_readonly("uses", &EngineInfo::uses)
      .def_property_readonly("properties", [](const EngineInfo& info) {
        py::dict properties;  // values may quote the plan
        for (const auto& [name, value] : info.properties) properties[py::str(name)] = sentence(value);
        return properties;
      });
  module.def("engine_info", [](EngineId id) { return EngineInfo(*find_engine(id), nullptr); }, "id"_a);
}

void bind_inspection(py::module_& module) {
  py::class_<ModuleInspection>(module, "ModuleInspection")
      .def_readonly("inputs", &ModuleInspection::inputs)
      .def_readonly("outputs", &ModuleInspection::outputs)
      .def_readonly("engine_ids", &ModuleInspection::engine_ids)
      .def_property_readonly("engine_names", [](const ModuleInspection& inspection) {
        py::list names;  // the module's text
        for (const auto& name : inspection.engine_names) names.append(sentence(name));
        return names;
      });
}

}  // namespace trtserve
