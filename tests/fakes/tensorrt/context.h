#pragma once

#include <new>

#include "context_state.h"
#include "contract.h"

namespace trtserve::fake::trt {

/// The API's execution context, for one thread at a time.
class Context final : public nvinfer1::IExecutionContext {
 public:
  explicit Context(std::shared_ptr<ContextState> state) : object_("execution context", std::move(state)) {}
  ~Context() override = default;
  static void operator delete(Context* self, std::destroying_delete_t);

  void setName(char const* name) noexcept override;
  char const* getName() const noexcept override;
  int32_t getOptimizationProfile() const noexcept override;
  bool setInputShape(char const* name, nvinfer1::Dims const& dims) noexcept override;
  nvinfer1::Dims getTensorShape(char const* name) const noexcept override;
  bool allInputDimensionsSpecified() const noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;
  bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept override;
  void setEnqueueEmitsProfile(bool emits) noexcept override;
  bool setTensorAddress(char const* name, void* data) noexcept override;
  void const* getTensorAddress(char const* name) const noexcept override;
  bool setInputTensorAddress(char const* name, void const* data) noexcept override;
  int32_t inferShapes(int32_t most_names, char const** names) noexcept override;
  bool setOutputAllocator(char const* name, nvinfer1::IOutputAllocator* allocator) noexcept override;
  int64_t getMaxOutputSize(char const* name) const noexcept override;
  bool setTemporaryStorageAllocator(nvinfer1::IGpuAllocator* allocator) noexcept override;
  bool enqueueV3(cudaStream_t stream) noexcept override;
  void setPersistentCacheLimit(size_t size) noexcept override;
  bool setNvtxVerbosity(nvinfer1::ProfilingVerbosity verbosity) noexcept override;
#if NV_TENSORRT_MAJOR >= 10
  void setDeviceMemoryV2(void* memory, int64_t size) noexcept override;
  bool setOutputTensorAddress(char const* name, void* data) noexcept override;
  size_t updateDeviceMemorySizeForShapes() noexcept override;
  void setAuxStreams(cudaStream_t* streams, int32_t count) noexcept override;
#else
  void setDeviceMemory(void* memory) noexcept override;
#endif

 private:
  mutable Owned<ContextState> object_;
};

enum class Want { Input, Output, Any };

/// The index of a context's tensor; reports an error and returns nothing if it does not exist or is not of the wanted
/// kind.
std::optional<size_t> find_tensor(const Call<ContextState>& call, const char* function, const char* name, Want want);

/// Implements setTensorAddress() and its relatives; returns their result.
bool set_address(const Call<ContextState>& call, const char* function, const char* name, void* data, Want want);

}  // namespace trtserve::fake::trt
