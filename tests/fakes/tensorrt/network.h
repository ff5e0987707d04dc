#pragma once

#include <new>

#include "build_state.h"

namespace trtserve::fake::trt {

/// An input of a network.
class NetworkTensor final : public nvinfer1::ITensor {
 public:
  explicit NetworkTensor(Tensor tensor) : tensor_(std::move(tensor)) {}

  char const* getName() const noexcept override { return tensor_.name.c_str(); }
  nvinfer1::Dims getDimensions() const noexcept override { return to_dims(tensor_.dims); }
  nvinfer1::DataType getType() const noexcept override { return tensor_.type; }
  bool isShapeTensor() const noexcept override { return tensor_.kind == Kind::ShapeInput; }

 private:
  const Tensor tensor_;
};

/// The API's network. Its layers are not shown.
class Network final : public nvinfer1::INetworkDefinition {
 public:
  explicit Network(std::shared_ptr<NetworkState> state) : object_("network", std::move(state)) {}
  ~Network() override = default;
  static void operator delete(Network* self, std::destroying_delete_t);

  int32_t getNbLayers() const noexcept override { return 0; }
  nvinfer1::ILayer* getLayer(int32_t index) const noexcept override;
  int32_t getNbInputs() const noexcept override;
  nvinfer1::ITensor* getInput(int32_t index) const noexcept override;

  Owned<NetworkState>& object() const { return object_; }
  /// Takes the model that a parser has read.
  void define(NetworkState& state, ToyModel model);

 private:
  mutable Owned<NetworkState> object_;
  std::vector<std::unique_ptr<NetworkTensor>> inputs_;
};

}  // namespace trtserve::fake::trt
