#pragma once

#include <new>

#include "context_state.h"
#include "contract.h"
#include "state.h"

namespace trtserve::fake::trt {

/// The API's engine. Threads may query it and create contexts concurrently.
class Engine final : public nvinfer1::ICudaEngine {
 public:
  explicit Engine(std::shared_ptr<EngineState> state) : object_("engine", std::move(state)) {}
  ~Engine() override = default;
  static void operator delete(Engine* self, std::destroying_delete_t);

  nvinfer1::Dims getTensorShape(char const* name) const noexcept override;
  nvinfer1::DataType getTensorDataType(char const* name) const noexcept override;
  int32_t getNbLayers() const noexcept override;
  nvinfer1::TensorLocation getTensorLocation(char const* name) const noexcept override;
  bool isShapeInferenceIO(char const* name) const noexcept override;
  nvinfer1::TensorIOMode getTensorIOMode(char const* name) const noexcept override;
  int32_t getTensorBytesPerComponent(char const* name) const noexcept override;
  int32_t getTensorComponentsPerElement(char const* name) const noexcept override;
  nvinfer1::TensorFormat getTensorFormat(char const* name) const noexcept override;
  char const* getTensorFormatDesc(char const* name) const noexcept override;
  int32_t getTensorVectorizedDim(char const* name) const noexcept override;
  char const* getName() const noexcept override;
  int32_t getNbOptimizationProfiles() const noexcept override;
  nvinfer1::Dims getProfileShape(char const* name, int32_t profile,
                                 nvinfer1::OptProfileSelector select) const noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;
  nvinfer1::IEngineInspector* createEngineInspector() const noexcept override;
  int32_t getNbIOTensors() const noexcept override;
  char const* getIOTensorName(int32_t index) const noexcept override;
#if NV_TENSORRT_MAJOR >= 10
  nvinfer1::IExecutionContext* createExecutionContext(
      nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override;
  char const* getAliasedInputTensor(char const* name) const noexcept override;
  int64_t getDeviceMemorySizeV2() const noexcept override;
  int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override;
  int32_t getTensorBytesPerComponent(char const* name, int32_t profile) const noexcept override;
  int32_t getTensorComponentsPerElement(char const* name, int32_t profile) const noexcept override;
  nvinfer1::TensorFormat getTensorFormat(char const* name, int32_t profile) const noexcept override;
  char const* getTensorFormatDesc(char const* name, int32_t profile) const noexcept override;
  int32_t getTensorVectorizedDim(char const* name, int32_t profile) const noexcept override;
  nvinfer1::HardwareCompatibilityLevel getHardwareCompatibilityLevel() const noexcept override;
  int32_t getNbAuxStreams() const noexcept override;
  int64_t getStreamableWeightsSize() const noexcept override;
  int64_t getWeightStreamingBudgetV2() const noexcept override;
  int64_t const* getProfileTensorValuesV2(char const* name, int32_t profile,
                                          nvinfer1::OptProfileSelector select) const noexcept override;
  int64_t getEngineStat(nvinfer1::EngineStat stat) const noexcept override;
#else
  nvinfer1::IExecutionContext* createExecutionContext() noexcept override;
  nvinfer1::IExecutionContext* createExecutionContextWithoutDeviceMemory() noexcept override;
  size_t getDeviceMemorySize() const noexcept override;
  int32_t getNbBindings() const noexcept override;
  int32_t getBindingIndex(char const* name) const noexcept override;
  nvinfer1::TensorFormat getBindingFormat(int32_t index) const noexcept override;
  char const* getBindingFormatDesc(int32_t index) const noexcept override;
  int32_t const* getProfileShapeValues(int32_t profile, int32_t input,
                                       nvinfer1::OptProfileSelector select) const noexcept override;
#endif

 private:
  mutable Owned<EngineState> object_;
};

/// Implements createExecutionContext() and its relatives; returns their result.
nvinfer1::IExecutionContext* create_context(const Call<EngineState>& call, const char* function,
                                            ScratchMemory scratch_memory);

/// The tensor of a method of engines; null if there is no such tensor or profile.
const Tensor* find_tensor(const Call<EngineState>& call, const char* name, int32_t profile);

/// A profile's reported values of a shape input; null for another tensor, or without one.
const Index* profile_values(const Call<EngineState>& call, const Tensor* tensor, int32_t profile,
                            nvinfer1::OptProfileSelector select);

// What methods of engines report of a tensor; it may be null.
int32_t bytes_per_component(const Tensor* tensor);
int32_t components_per_element(const Tensor* tensor);
int32_t vectorized_dim(const Tensor* tensor);
nvinfer1::TensorFormat format_of(const Tensor* tensor);
const char* describe_format(const Tensor* tensor);

}  // namespace trtserve::fake::trt
