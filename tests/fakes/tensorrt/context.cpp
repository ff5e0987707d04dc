#include "context.h"

#include <set>

#include "inference.h"

// The lifetime of contexts and the settings made once; context_tensors.cpp has the settings for every execution,
// enqueue.cpp the executions.

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;
using nvinfer1::ExecutionContextAllocationStrategy;

namespace {

constexpr int64_t kPersistentBytes = 1024;
constexpr uintptr_t kAlignment = 256;

/// Allocates the scratch memory that a context manages itself; null on failure.
std::shared_ptr<DeviceBlock> allocate_scratch(const ContextState& context) {
  int64_t bytes = context.plan.scratch_bytes(context.profile);
  if (context.strategy == ExecutionContextAllocationStrategy::kSTATIC) {
    for (int32_t i = 0; context.plan.has_profile(i); ++i) bytes = std::max(bytes, context.plan.scratch_bytes(i));
  }
  return DeviceBlock::allocate(context.engine->allocator, bytes);
}

bool use_own_scratch(ContextState& context) {
  if (context.own_scratch != nullptr) context.own_scratch->release();
  context.own_scratch = allocate_scratch(context);
  if (context.own_scratch == nullptr) return false;
  context.scratch = context.own_scratch->address();
  context.scratch_bytes = context.own_scratch->bytes();
  return true;
}

/// Copies data in the stream's order, like a real change of profile.
bool copy_profile(ContextState& context, cudaStream_t handle) {
  context.profile_stream = nullptr;
  context.profile_ready = nullptr;
  if (handle == nullptr) return true;
  auto* const stream = stream_of(handle);
  if (stream == nullptr) return false;
  if (stream->capturing()) {
    context.reporter.misuse("setOptimizationProfileAsync", "called while the stream was capturing");
    return false;
  }
  context.profile_stream = stream;
  context.profile_ready = std::make_shared<std::atomic<bool>>(false);
  stream->enqueue([ready = context.profile_ready] { *ready = true; });
  return true;
}

}  // namespace

ContextState::ContextState(std::shared_ptr<EngineState> the_engine, ExecutionContextAllocationStrategy the_strategy)
    : engine(std::move(the_engine)),
      plan(*engine->plan),
      strategy(the_strategy),
      reporter(engine->reporter),
      input_shapes(plan.tensors.size()),
      addresses(plan.tensors.size()),
      allocators(plan.tensors.size()) {}

std::shared_ptr<ContextState> create_context_state(std::shared_ptr<EngineState> engine,
                                                   ExecutionContextAllocationStrategy strategy) {
  auto context = std::make_shared<ContextState>(std::move(engine), strategy);
  context->persistent = DeviceBlock::allocate(context->engine->allocator, kPersistentBytes);
  if (context->persistent == nullptr) return nullptr;
  if (!context->user_managed() && !use_own_scratch(*context)) return nullptr;
  return context;
}

void Context::operator delete(Context* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  ++*state->revision;
  state->flight->end();
  state->engine->check_device("delete: an execution context was destroyed");
  --state->engine->contexts;
  state->persistent->release();
  if (state->own_scratch != nullptr) state->own_scratch->release();
  state->reporter.set_recorder(nullptr);
}

void Context::setName(char const* name) noexcept {
  const Call call(object_, "setName");
  if (call) call->name = name;
}

char const* Context::getName() const noexcept {
  const Call call(object_, "getName");
  return call ? call->name.c_str() : "";
}

void Context::setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept {
  const Call call(object_, "setErrorRecorder");
  if (call) call->reporter.set_recorder(recorder);
}

nvinfer1::IErrorRecorder* Context::getErrorRecorder() const noexcept {
  const Call call(object_, "getErrorRecorder");
  return call ? call->reporter.recorder() : nullptr;
}

void Context::setDeviceMemoryV2(void* memory, int64_t size) noexcept {
  const Call call(object_, "setDeviceMemoryV2");
  if (!call) return;
  if (!call->user_managed()) {
    return call->reporter.misuse("setDeviceMemoryV2", "called on a context that manages its memory itself");
  }
  if (reinterpret_cast<uintptr_t>(memory) % kAlignment != 0) {
    return call->reporter.misuse("setDeviceMemoryV2", "the memory is not aligned to ", kAlignment, " bytes");
  }
  if (size < 0 || (memory == nullptr && size > 0)) {
    return call->reporter.misuse("setDeviceMemoryV2", memory, " does not point to ", size, " bytes of memory");
  }
  ++*call->revision;
  call->scratch = memory;
  call->scratch_bytes = size;
}

int32_t Context::getOptimizationProfile() const noexcept {
  const Call call(object_, "getOptimizationProfile");
  return call ? call->profile : -1;
}

// Since TensorRT 10, any number of contexts may use one profile at the same time: the builder's preview feature
// PROFILE_SHARING is always on. (The official comment on the class of contexts is outdated.)
bool Context::setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept {
  const Call call(object_, "setOptimizationProfileAsync");
  if (!call) return false;
  if (!call->plan.has_profile(profile)) {
    call->reporter.misuse("setOptimizationProfileAsync", "there is no profile ", profile);
    return false;
  }
  ++*call->revision;
  if (!copy_profile(*call, stream)) return false;
  if (profile == call->profile) return true;
  call->profile = profile;
  call->changed = true;
  call->input_shapes.assign(call->plan.tensors.size(), std::nullopt);
  if (call->strategy != ExecutionContextAllocationStrategy::kON_PROFILE_CHANGE || use_own_scratch(*call)) return true;
  call->reporter.error(ErrorCode::kFAILED_ALLOCATION, "setOptimizationProfileAsync", "OutOfMemory",
                       "Requested amount of GPU memory could not be allocated.");
  return false;
}

void Context::setEnqueueEmitsProfile(bool /*emits*/) noexcept { const Call call(object_, "setEnqueueEmitsProfile"); }

void Context::setPersistentCacheLimit(size_t /*size*/) noexcept { const Call call(object_, "setPersistentCacheLimit"); }

bool Context::setTemporaryStorageAllocator(nvinfer1::IGpuAllocator* /*allocator*/) noexcept {
  const Call call(object_, "setTemporaryStorageAllocator");
  return static_cast<bool>(call);
}

bool Context::setNvtxVerbosity(nvinfer1::ProfilingVerbosity verbosity) noexcept {
  const Call call(object_, "setNvtxVerbosity");
  // Plans are built with kLAYER_NAMES_ONLY, and the verbosity may only be lowered.
  return call && verbosity != nvinfer1::ProfilingVerbosity::kDETAILED;
}

void Context::setAuxStreams(cudaStream_t* streams, int32_t count) noexcept {
  const Call call(object_, "setAuxStreams");
  if (!call) return;
  const std::set<cudaStream_t> distinct(streams, streams + count);
  if (distinct.contains(nullptr)) call->reporter.misuse("setAuxStreams", "one is the default stream");
  if (distinct.size() != static_cast<size_t>(count)) call->reporter.misuse("setAuxStreams", "two are the same");
}

}  // namespace trtserve::fake::trt
