#pragma once

#include <map>
#include <string>
#include <vector>

#include <pybind11/pybind11.h>

#include "core/engine.h"
#include "runtime.h"

namespace trtserve {

/// An engine as Python sees it: a copy, so that it does not keep the engine resident.
struct EngineInfo {
  /// `served` is null where it is not served, as before the end of its load.
  EngineInfo(const Engine& engine, const ServedEngine* served);

  EngineId id;
  std::string name;
  std::string backend;
  std::string device;  // all, with commas between them
  std::vector<std::string> devices;
  int instances;  // on each device
  int64_t max_queue_size;
  int64_t max_batch_size;
  std::string why_not_joined;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, std::string> properties;
  std::vector<EngineId> uses;
};

EngineInfo info_of(const Runtime& runtime, const Engine& engine);

void bind_engine(pybind11::module_& module);
/// What is known of a module before it runs.
void bind_inspection(pybind11::module_& module);

}  // namespace trtserve
