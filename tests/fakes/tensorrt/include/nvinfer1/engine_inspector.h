#pragma once

#include "nvinfer1/error_recorder.h"
#include "nvinfer1/execution_context.h"

namespace nvinfer1 {

enum class LayerInformationFormat : int32_t { kONELINE = 0, kJSON = 1 };

class IEngineInspector : public INoCopy {
 public:
  ~IEngineInspector() noexcept override = default;
  virtual bool setExecutionContext(IExecutionContext const* context) noexcept = 0;
  virtual char const* getLayerInformation(int32_t layerIndex, LayerInformationFormat format) const noexcept = 0;
  virtual char const* getEngineInformation(LayerInformationFormat format) const noexcept = 0;
  virtual void setErrorRecorder(IErrorRecorder* recorder) noexcept = 0;
  virtual IErrorRecorder* getErrorRecorder() const noexcept = 0;
};

}  // namespace nvinfer1
