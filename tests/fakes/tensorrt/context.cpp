#include "context.h"

#include "device_memory.h"

// The lifetime of contexts and the settings made once; context_tensors.cpp has the settings for every execution,
// enqueue.cpp the executions.

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;

namespace {

constexpr int64_t kPersistentBytes = 1024;
constexpr uintptr_t kAlignment = 256;

/// Allocates the scratch memory that a context manages itself; null on failure.
std::shared_ptr<DeviceBlock> allocate_scratch(const ContextState& context) {
  const bool for_all = context.scratch_memory == ScratchMemory::ForAllProfiles;
  return DeviceBlock::allocate(context.engine->allocator, for_all ? context.plan.most_scratch_bytes()
                                                                  : context.plan.scratch_bytes(context.profile));
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

ContextState::ContextState(std::shared_ptr<EngineState> the_engine, ScratchMemory the_scratch_memory)
    : engine(std::move(the_engine)),
      plan(*engine->plan),
      scratch_memory(the_scratch_memory),
      reporter(engine->reporter),
      profile(kProfilesAreShared || (!engine->used.exchange(true) && engine->claim(0)) ? 0 : -1),
      input_shapes(plan.tensors.size()),
      addresses(plan.tensors.size()),
      allocators(plan.tensors.size()) {}

const Profile& ContextState::ranges() const {
  static const Profile none;
  return profile < 0 ? none : plan.profiles[static_cast<size_t>(profile)];
}

void ContextState::settle() {
  if (kProfilesAreShared || !changed) return;
  const auto [found, is_new] = settled.try_emplace({profile, input_shapes}, last_revision + 1);
  if (is_new) ++last_revision;
  *revision = found->second;
}

std::shared_ptr<ContextState> create_context_state(std::shared_ptr<EngineState> engine, ScratchMemory scratch_memory) {
  auto context = std::make_shared<ContextState>(std::move(engine), scratch_memory);
  context->persistent = DeviceBlock::allocate(context->engine->allocator, kPersistentBytes);
  const bool own_scratch = scratch_memory != ScratchMemory::OfApplication;
  if (context->persistent != nullptr && (!own_scratch || use_own_scratch(*context))) return context;
  context->engine->give_back(context->profile);
  return nullptr;
}

void provide_scratch(ContextState& context, const char* function, void* memory, int64_t bytes) {
  if (context.scratch_memory != ScratchMemory::OfApplication) {
    return context.reporter.misuse(function, "called on a context that manages its memory itself");
  }
  if (reinterpret_cast<uintptr_t>(memory) % kAlignment != 0) {
    return context.reporter.misuse(function, "the memory is not aligned to ", kAlignment, " bytes");
  }
  if (bytes < 0 || (bytes > 0 && device_memory().bytes_from(memory) < static_cast<size_t>(bytes))) {
    return context.reporter.misuse(function, memory, " does not point to ", bytes, " bytes of device memory");
  }
  context.note_setting();
  context.scratch = memory;
  context.scratch_bytes = bytes;
}

void Context::operator delete(Context* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->note_change();
  state->flight->end();
  state->engine->check_device("delete: an execution context was destroyed");
  --state->engine->contexts;
  state->engine->give_back(state->profile);
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

int32_t Context::getOptimizationProfile() const noexcept {
  const Call call(object_, "getOptimizationProfile");
  return call ? call->profile : -1;
}

// Since TensorRT 10, any number of contexts may use one profile at the same time: the builder's preview feature
// PROFILE_SHARING is always on. (The official comment on the class of contexts is outdated.)
bool Context::setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept {
  constexpr const char* kFunction = "setOptimizationProfileAsync";
  const Call call(object_, kFunction);
  if (!call) return false;
  if (!call->plan.has_profile(profile)) {
    call->reporter.misuse(kFunction, "there is no profile ", profile);
    return false;
  }
  const int32_t before = call->profile;
  if (profile != before && !call->engine->claim(profile)) {
    call->reporter.misuse(kFunction, "Profile ", profile,
                          " has been chosen by another IExecutionContext. Use another profileIndex or destroy the "
                          "IExecutionContext that use this profile.");
    return false;
  }
  call->note_change();
  if (!copy_profile(*call, stream)) return false;
  if (profile == before) return true;
  call->engine->give_back(before);
  call->profile = profile;
  call->changed = true;
  call->input_shapes.assign(call->plan.tensors.size(), std::nullopt);
  if (call->scratch_memory != ScratchMemory::ForEachProfile || use_own_scratch(*call)) return true;
  call->reporter.error(ErrorCode::kFAILED_ALLOCATION, kFunction, "OutOfMemory",
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

}  // namespace trtserve::fake::trt
