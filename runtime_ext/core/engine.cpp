#include "core/engine.h"

#include "core/device_health.h"
#include "core/error.h"

namespace trtserve {

namespace {

std::vector<std::unique_ptr<ExecutionContext>> create_contexts(BackendEngine& engine, const std::string& label) {
  check_names(engine.inputs());  // before contexts allocate device memory
  check_names(engine.outputs());
  try {
    std::vector<std::unique_ptr<ExecutionContext>> contexts;
    contexts.reserve(static_cast<size_t>(engine.instances()));
    for (int i = 0; i < engine.instances(); ++i) contexts.push_back(engine.create_context());
    return contexts;
  } catch (...) {
    throw explained(engine.device(), c10::str("an execution context of ", label), std::current_exception());
  }
}

}  // namespace

Engine::Engine(EngineId id, std::string backend_name, std::shared_ptr<Backend> backend, const std::string& plan_path,
               LoadOptions options)
    : id_(id),
      backend_name_(std::move(backend_name)),
      options_(std::move(options)),
      backend_(std::move(backend)),
      backend_engine_(backend_->load(plan_path, options_)),
      properties_(backend_engine_->properties()),
      contexts_(create_contexts(*backend_engine_, label())) {}

Memory Engine::memory() const {
  auto known = backend_engine_->memory();
  if (!device().is_cpu())
    return {{device().str(), std::move(known)}, {"cpu", {{"host", heap_for_weights_ + heap_for_contexts_}}}};
  if (known.empty()) known = {{"weights", heap_for_weights_}, {"contexts", heap_for_contexts_}};
  return {{"cpu", std::move(known)}};
}

std::string Engine::label() const {
  return name().empty() ? c10::str("engine ", id_) : c10::str("engine ", id_, " (", name(), ")");
}

}  // namespace trtserve
