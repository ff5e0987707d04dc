#include "runtime.h"

#include <csignal>

#include "current.h"
#include "engine.h"

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;

namespace {

/// Reads the plan; reports an error and returns null if it is invalid or set to fail.
std::shared_ptr<const Plan> read(const RuntimeState& runtime, const void* blob, size_t size) {
  const auto refuse = [&](const char* kind, const auto&... sentence) {
    runtime.reporter.error(ErrorCode::kUNSPECIFIED_ERROR, "deserializeCudaEngine", kind, sentence...);
    return nullptr;
  };
  try {
    check_usable(current_device());
    auto plan = std::make_shared<const Plan>(read_plan(blob, size));
    if (plan->crashes) std::raise(SIGSEGV);
    if (const auto* reason = plan->failure("deserialize")) return refuse("Internal Error", *reason);
    if (plan->host_code && !runtime.host_code_allowed) {
      return refuse("API Usage Error",
                    "Plan contains host code, and IRuntime::getEngineHostCodeAllowed() is false: set it only for plans "
                    "from a trusted source.");
    }
    return plan;
  } catch (const PlanError& error) {
    return refuse("Serialization", error.what());
  } catch (const c10::Error& error) {
    return refuse("Cuda Runtime", error.what_without_backtrace());
  }
}

}  // namespace

Runtime::Runtime(nvinfer1::ILogger& logger) : object_("runtime", std::make_shared<RuntimeState>(logger)) {}

void Runtime::operator delete(Runtime* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->destroyed = true;
  if (state->engines > 0) {
    breached("delete: the runtime was destroyed before ", state->engines, " of its engines, whose memory it leaks");
  }
}

void Runtime::setGpuAllocator(nvinfer1::IGpuAllocator* allocator) noexcept {
  const Call call(object_, "setGpuAllocator");
  if (!call) return;
  if (call->loaded) call->reporter.misuse("setGpuAllocator", "called after an engine was deserialized");
  call->allocator = allocator;
}

void Runtime::setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept {
  const Call call(object_, "setErrorRecorder");
  if (call) call->reporter.set_recorder(recorder);
}

nvinfer1::IErrorRecorder* Runtime::getErrorRecorder() const noexcept {
  const Call call(object_, "getErrorRecorder", Use::Shared);
  return call ? call->reporter.recorder() : nullptr;
}

nvinfer1::ICudaEngine* Runtime::deserializeCudaEngine(void const* blob, std::size_t size) noexcept {
  // Several threads may deserialize through one runtime.
  const Call call(object_, "deserializeCudaEngine", Use::Shared);
  if (!call) return nullptr;
  if (blob == nullptr) {
    call->reporter.misuse("deserializeCudaEngine", "blob is null");
    return nullptr;
  }
  const auto plan = read(*call, blob, size);
  if (plan == nullptr) return nullptr;
  const auto* const reason = plan->failure("allocate");
  auto weights = reason != nullptr ? nullptr : DeviceBlock::allocate(call->allocator, plan->weights);
  if (weights == nullptr) {
    call->reporter.error(ErrorCode::kFAILED_ALLOCATION, "deserializeCudaEngine", "OutOfMemory",
                         reason != nullptr ? *reason : std::string("Requested amount of GPU memory ("),
                         reason != nullptr ? "" : std::to_string(plan->weights) + " bytes) could not be allocated.");
    return nullptr;
  }
  call->loaded = true;
  ++call->engines;
  auto engine = std::make_shared<Engine>(std::make_shared<EngineState>(call.state(), plan, std::move(weights)));
  keep(engine);
  return engine.get();
}

nvinfer1::ILogger* Runtime::getLogger() const noexcept {
  const Call call(object_, "getLogger", Use::Shared);
  return call ? &call->reporter.logger() : nullptr;
}

bool Runtime::setMaxThreads(int32_t count) noexcept {
  const Call call(object_, "setMaxThreads");
  if (!call) return false;
  if (count < 1) {
    call->reporter.misuse("setMaxThreads", "maxThreads is ", count, ", and must be at least 1");
    return false;
  }
  call->max_threads = count;
  return true;
}

int32_t Runtime::getMaxThreads() const noexcept {
  const Call call(object_, "getMaxThreads", Use::Shared);
  return call ? call->max_threads : 0;
}

}  // namespace trtserve::fake::trt
