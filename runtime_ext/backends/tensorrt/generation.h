#pragma once

// Hides the differences between the generations of TensorRT's API (8.5 and 8.6; 10 and later) behind common names. The
// backend compiles against the headers of any of them, and checks their version nowhere else.

#include <dlfcn.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <NvInferRuntime.h>

namespace trtserve::tensorrt::generation {

using nvinfer1::ICudaEngine;
using nvinfer1::IExecutionContext;
using nvinfer1::OptProfileSelector;

/// The version of the headers, in the library's form: MAJOR * 1000 + MINOR * 100 + PATCH before TensorRT 10, MAJOR *
/// 10000 + MINOR * 100 + PATCH since.
inline constexpr int32_t kHeaders = NV_TENSORRT_VERSION;
inline constexpr int32_t kMajor = NV_TENSORRT_MAJOR;

/// Numbers of datatypes that some generations' headers lack.
inline constexpr int32_t kFp8 = 6;
inline constexpr int32_t kBf16 = 7;
inline constexpr int32_t kInt64 = 8;
inline constexpr int32_t kInt4 = 9;

#if NV_TENSORRT_MAJOR >= 10

static_assert(kFp8 == static_cast<int32_t>(nvinfer1::DataType::kFP8));
static_assert(kBf16 == static_cast<int32_t>(nvinfer1::DataType::kBF16));
static_assert(kInt64 == static_cast<int32_t>(nvinfer1::DataType::kINT64));
static_assert(kInt4 == static_cast<int32_t>(nvinfer1::DataType::kINT4));

/// True if any number of contexts may use a profile at the same time.
inline constexpr bool kProfilesAreShared = true;

using GpuAllocator = nvinfer1::IGpuAsyncAllocator;
using OutputAllocator = nvinfer1::IOutputAllocator;

/// The fewest bytes to allocate for an output whose shape is known only once it is computed: TensorRT asks for enough.
inline int64_t least_output_bytes(int64_t /*input_elements*/, int64_t /*element_bytes*/) { return 0; }

inline IExecutionContext* create_context(ICudaEngine& engine) {
  return engine.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
}

/// Scratch bytes that the largest shapes need.
inline int64_t most_scratch_bytes(const ICudaEngine& engine) { return engine.getDeviceMemorySizeV2(); }

/// Scratch bytes that the context's current shapes need. 0 and an error in the thread's errors: unknown.
inline int64_t scratch_bytes(const ICudaEngine& /*engine*/, IExecutionContext& context) {
  return static_cast<int64_t>(context.updateDeviceMemorySizeForShapes());
}

inline void provide_scratch(IExecutionContext& context, void* memory, int64_t bytes) {
  context.setDeviceMemoryV2(memory, bytes);
}

/// The `count` values of an input that a profile defines.
inline std::optional<std::vector<int64_t>> profile_values(const ICudaEngine& engine, const char* name, int32_t profile,
                                                          OptProfileSelector selector, int64_t count) {
  const int64_t* values = engine.getProfileTensorValuesV2(name, profile, selector);
  if (values == nullptr) return std::nullopt;
  return std::vector<int64_t>(values, values + count);
}

inline nvinfer1::TensorFormat format(const ICudaEngine& engine, const char* name, int32_t profile) {
  return engine.getTensorFormat(name, profile);
}

inline const char* format_text(const ICudaEngine& engine, const char* name, int32_t profile) {
  return engine.getTensorFormatDesc(name, profile);
}

/// The input whose memory an output shares; null if none.
inline const char* aliased_input(const ICudaEngine& engine, const char* output) {
  return engine.getAliasedInputTensor(output);
}

inline bool streams_weights(const ICudaEngine& engine) {
  return engine.getWeightStreamingBudgetV2() < engine.getStreamableWeightsSize();
}

inline std::optional<int64_t> weights_bytes(const ICudaEngine& engine) {
  return engine.getEngineStat(nvinfer1::EngineStat::kTOTAL_WEIGHTS_SIZE);
}

#else

#pragma GCC diagnostic push
// The replacements came with TensorRT 10 and, in part, with 8.6.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

inline constexpr bool kProfilesAreShared = false;

/// Adapts to IGpuAsyncAllocator's interface: calls without a stream use the null stream.
class GpuAllocator : public nvinfer1::IGpuAllocator {
 public:
  virtual void* allocateAsync(uint64_t size, uint64_t alignment, nvinfer1::AllocatorFlags flags,
                              cudaStream_t stream) noexcept = 0;
  virtual bool deallocateAsync(void* memory, cudaStream_t stream) noexcept = 0;

  void* allocate(uint64_t const size, uint64_t const alignment, nvinfer1::AllocatorFlags const flags) noexcept final {
    return allocateAsync(size, alignment, flags, nullptr);
  }
  bool deallocate(void* const memory) noexcept final { return deallocateAsync(memory, nullptr); }
  void free(void* const memory) noexcept final { deallocateAsync(memory, nullptr); }
};

/// Adapts to the IOutputAllocator of TensorRT 10.
class OutputAllocator : public nvinfer1::IOutputAllocator {
 public:
  virtual void* reallocateOutputAsync(char const* name, void* current, uint64_t size, uint64_t alignment,
                                      cudaStream_t stream) = 0;

  void* reallocateOutput(char const* name, void* current, uint64_t size, uint64_t alignment) noexcept final {
    return reallocateOutputAsync(name, current, size, alignment, nullptr);
  }
};

/// 8.5.3 asks an output allocator for what the context's last execution needed, and writes beyond that if it needs
/// more; getMaxOutputSize() is no better then. So the memory suffices for the indices of every element of the inputs,
/// in as many dimensions as a tensor can have: NonZero is what makes such outputs.
inline int64_t least_output_bytes(int64_t input_elements, int64_t element_bytes) {
  return input_elements * nvinfer1::Dims::MAX_DIMS * element_bytes;
}

inline IExecutionContext* create_context(ICudaEngine& engine) {
  return engine.createExecutionContextWithoutDeviceMemory();
}

inline int64_t most_scratch_bytes(const ICudaEngine& engine) {
  return static_cast<int64_t>(engine.getDeviceMemorySize());
}

inline int64_t scratch_bytes(const ICudaEngine& engine, IExecutionContext& /*context*/) {
  return most_scratch_bytes(engine);
}

inline void provide_scratch(IExecutionContext& context, void* memory, int64_t /*bytes*/) {
  context.setDeviceMemory(memory);
}

/// The index of a tensor's binding in a profile: the bindings of all profiles are numbered consecutively.
inline int32_t binding(const ICudaEngine& engine, const char* name, int32_t profile) {
  const int32_t each = engine.getNbBindings() / std::max(1, engine.getNbOptimizationProfiles());
  return profile * each + engine.getBindingIndex(name);
}

inline std::optional<std::vector<int64_t>> profile_values(const ICudaEngine& engine, const char* name, int32_t profile,
                                                          OptProfileSelector selector, int64_t count) {
  const int32_t* values = engine.getProfileShapeValues(profile, binding(engine, name, profile), selector);
  if (values == nullptr) return std::nullopt;
  return std::vector<int64_t>(values, values + count);
}

inline nvinfer1::TensorFormat format(const ICudaEngine& engine, const char* name, int32_t profile) {
  return engine.getBindingFormat(binding(engine, name, profile));
}

inline const char* format_text(const ICudaEngine& engine, const char* name, int32_t profile) {
  return engine.getBindingFormatDesc(binding(engine, name, profile));
}

inline const char* aliased_input(const ICudaEngine& /*engine*/, const char* /*output*/) { return nullptr; }
inline bool streams_weights(const ICudaEngine& /*engine*/) { return false; }
inline std::optional<int64_t> weights_bytes(const ICudaEngine& /*engine*/) { return std::nullopt; }

#pragma GCC diagnostic pop

#endif

// Features that came with 8.6.
#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6

inline std::optional<int32_t> aux_streams(const ICudaEngine& engine) { return engine.getNbAuxStreams(); }

/// The runtime's headers only declare the enumeration; the builder's (NvInfer.h) define its values.
inline std::optional<int32_t> hardware_compatibility(const ICudaEngine& engine) {
  return static_cast<int32_t>(engine.getHardwareCompatibilityLevel());
}

/// Allows plans to contain machine code for the host.
inline void allow_host_code(nvinfer1::IRuntime& runtime, bool allowed) { runtime.setEngineHostCodeAllowed(allowed); }

/// Loads a library of plugins for the plans of this runtime.
inline bool load_plugins(nvinfer1::IRuntime& runtime, const char* path) {
  return runtime.getPluginRegistry().loadLibrary(path) != nullptr;
}

#else

inline std::optional<int32_t> aux_streams(const ICudaEngine& /*engine*/) { return std::nullopt; }
inline std::optional<int32_t> hardware_compatibility(const ICudaEngine& /*engine*/) { return std::nullopt; }
inline void allow_host_code(nvinfer1::IRuntime& /*runtime*/, bool /*allowed*/) {}

/// A plugin library registers its plugins when it is opened; NVIDIA's own needs an extra call.
inline bool open_plugins(nvinfer1::ILogger& logger, const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    logger.log(nvinfer1::ILogger::Severity::kERROR, dlerror());
    return false;
  }
  auto* init = reinterpret_cast<bool (*)(void*, const char*)>(dlsym(library, "initLibNvInferPlugins"));
  return init == nullptr || init(&logger, "");
}

inline bool load_plugins(nvinfer1::IRuntime& runtime, const char* path) {
  return open_plugins(*runtime.getLogger(), path);
}

#endif

}  // namespace trtserve::tensorrt::generation
