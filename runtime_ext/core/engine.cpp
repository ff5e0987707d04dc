#include "core/engine.h"

#include "core/error.h"

namespace trtserve {

namespace {

std::vector<std::unique_ptr<ExecutionContext>> create_contexts(BackendEngine& engine) {
  std::vector<std::unique_ptr<ExecutionContext>> contexts;
  contexts.reserve(static_cast<size_t>(engine.instances()));
  for (int i = 0; i < engine.instances(); ++i) contexts.push_back(engine.create_context());
  return contexts;
}

}  // namespace

Engine::Engine(EngineId id, std::string backend, LoadOptions options, std::unique_ptr<BackendEngine> backend_engine)
    : id_(id),
      backend_(std::move(backend)),
      options_(std::move(options)),
      backend_engine_(std::move(backend_engine)),
      contexts_(create_contexts(*backend_engine_)) {
  check_names(inputs());
  check_names(outputs());
}

std::string Engine::label() const {
  return name().empty() ? c10::str("engine ", id_) : c10::str("engine ", id_, " (", name(), ")");
}

}  // namespace trtserve
