#pragma once

#include <new>

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
  nvinfer1::IExecutionContext* createExecutionContext(
      nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override;
  nvinfer1::TensorLocation getTensorLocation(char const* name) const noexcept override;
  bool isShapeInferenceIO(char const* name) const noexcept override;
  nvinfer1::TensorIOMode getTensorIOMode(char const* name) const noexcept override;
  char const* getAliasedInputTensor(char const* name) const noexcept override;
  int64_t getDeviceMemorySizeV2() const noexcept override;
  int64_t getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept override;
  int32_t getTensorBytesPerComponent(char const* name) const noexcept override;
  int32_t getTensorBytesPerComponent(char const* name, int32_t profile) const noexcept override;
  int32_t getTensorComponentsPerElement(char const* name) const noexcept override;
  int32_t getTensorComponentsPerElement(char const* name, int32_t profile) const noexcept override;
  nvinfer1::TensorFormat getTensorFormat(char const* name) const noexcept override;
  nvinfer1::TensorFormat getTensorFormat(char const* name, int32_t profile) const noexcept override;
  char const* getTensorFormatDesc(char const* name) const noexcept override;
  char const* getTensorFormatDesc(char const* name, int32_t profile) const noexcept override;
  int32_t getTensorVectorizedDim(char const* name) const noexcept override;
  int32_t getTensorVectorizedDim(char const* name, int32_t profile) const noexcept override;
  char const* getName() const noexcept override;
  int32_t getNbOptimizationProfiles() const noexcept override;
  nvinfer1::Dims getProfileShape(char const* name, int32_t profile,
                                 nvinfer1::OptProfileSelector select) const noexcept override;
  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;
  nvinfer1::IEngineInspector* createEngineInspector() const noexcept override;
  int32_t getNbIOTensors() const noexcept override;
  char const* getIOTensorName(int32_t index) const noexcept override;
  nvinfer1::HardwareCompatibilityLevel getHardwareCompatibilityLevel() const noexcept override;
  int32_t getNbAuxStreams() const noexcept override;
  int64_t getStreamableWeightsSize() const noexcept override;
  int64_t getWeightStreamingBudgetV2() const noexcept override;
  int64_t const* getProfileTensorValuesV2(char const* name, int32_t profile,
                                          nvinfer1::OptProfileSelector select) const noexcept override;
  int64_t getEngineStat(nvinfer1::EngineStat stat) const noexcept override;

 private:
  mutable Owned<EngineState> object_;
};

}  // namespace trtserve::fake::trt
