#pragma once

#include "nvinfer1/interface.h"
#include "nvinfer1/tensor.h"

namespace nvinfer1 {

enum class LayerType : int32_t { kQUANTIZE = 32, kDEQUANTIZE = 33 };

/// Owned by its network.
class ITensor : public INoCopy {
 public:
  virtual char const* getName() const noexcept = 0;
  virtual Dims getDimensions() const noexcept = 0;
  virtual DataType getType() const noexcept = 0;
  virtual bool isShapeTensor() const noexcept = 0;

 protected:
  ~ITensor() noexcept override = default;
};

/// Owned by its network.
class ILayer : public INoCopy {
 public:
  virtual LayerType getType() const noexcept = 0;
  virtual int32_t getNbOutputs() const noexcept = 0;
  virtual ITensor* getOutput(int32_t index) const noexcept = 0;

 protected:
  ~ILayer() noexcept override = default;
};

class INetworkDefinition : public INoCopy {
 public:
  ~INetworkDefinition() noexcept override = default;
  virtual int32_t getNbLayers() const noexcept = 0;
  virtual ILayer* getLayer(int32_t index) const noexcept = 0;
  virtual int32_t getNbInputs() const noexcept = 0;
  virtual ITensor* getInput(int32_t index) const noexcept = 0;
};

}  // namespace nvinfer1
