#include "engine.h"

#include "context.h"
#include "inspector.h"

// The lifetime and properties of engines; engine_tensors.cpp has the properties of their tensors, engine_8.cpp and
// engine_11.cpp the methods of one generation only.

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;

void Engine::operator delete(Engine* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->destroyed = true;
  state->check_device("delete: the engine was destroyed");
  if (state->contexts > 0) breached("delete: the engine was destroyed before ", state->contexts, " of its contexts");
  if (state->inspectors > 0) breached("delete: the engine was destroyed before its inspector");
  if (state->runtime->destroyed) {
    breached("delete: the engine was destroyed after its runtime");
  } else {
    --state->runtime->engines;
  }
  state->weights->release();
  state->reporter.set_recorder(nullptr);
}

nvinfer1::IExecutionContext* create_context(const Call<EngineState>& call, const char* function,
                                            ScratchMemory scratch_memory) {
  if (!call) return nullptr;
  call->check_device("createExecutionContext: called");
  if (const auto* reason = call->plan->failure("context")) {
    call->reporter.error(ErrorCode::kINTERNAL_ERROR, function, "Internal Error", *reason);
    return nullptr;
  }
  auto state = create_context_state(call.state(), scratch_memory);
  if (state == nullptr) {
    call->reporter.error(ErrorCode::kFAILED_ALLOCATION, function, "OutOfMemory",
                         "Requested amount of GPU memory could not be allocated.");
    return nullptr;
  }
  ++call->contexts;
  auto context = std::make_shared<Context>(std::move(state));
  keep(context);
  return context.get();
}

nvinfer1::IEngineInspector* Engine::createEngineInspector() const noexcept {
  const Call call(object_, "createEngineInspector", Use::Shared);
  if (!call) return nullptr;
  ++call->inspectors;
  auto inspector = std::make_shared<Inspector>(std::make_shared<InspectorState>(call.state()));
  keep(inspector);
  return inspector.get();
}

void Engine::setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept {
  const Call call(object_, "setErrorRecorder");
  if (call) call->reporter.set_recorder(recorder);
}

nvinfer1::IErrorRecorder* Engine::getErrorRecorder() const noexcept {
  const Call call(object_, "getErrorRecorder", Use::Shared);
  return call ? call->reporter.recorder() : nullptr;
}

int32_t Engine::getNbLayers() const noexcept {
  const Call call(object_, "getNbLayers", Use::Shared);
  return call ? call->plan->layers : 0;
}

char const* Engine::getName() const noexcept {
  const Call call(object_, "getName", Use::Shared);
  return call ? call->plan->name.c_str() : "";
}

int32_t Engine::getNbOptimizationProfiles() const noexcept {
  const Call call(object_, "getNbOptimizationProfiles", Use::Shared);
  return call ? static_cast<int32_t>(call->plan->profiles.size()) : 0;
}

}  // namespace trtserve::fake::trt
