#include "network.h"

namespace trtserve::fake::trt {

void Network::operator delete(Network* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  state->destroyed = true;
  if (state->parsers > 0) breached("delete: the network was destroyed before its parser");
  if (state->builder->destroyed) breached("delete: the network was destroyed after its builder");
}

nvinfer1::ILayer* Network::getLayer(int32_t index) const noexcept {
  const Call call(object_, "getLayer");
  if (call) call->builder->reporter.misuse("getLayer", "there is no layer ", index);
  return nullptr;
}

int32_t Network::getNbInputs() const noexcept {
  const Call call(object_, "getNbInputs");
  return call ? static_cast<int32_t>(inputs_.size()) : 0;
}

nvinfer1::ITensor* Network::getInput(int32_t index) const noexcept {
  const Call call(object_, "getInput");
  if (!call) return nullptr;
  if (index >= 0 && static_cast<size_t>(index) < inputs_.size()) return inputs_[static_cast<size_t>(index)].get();
  call->builder->reporter.misuse("getInput", "there is no input ", index);
  return nullptr;
}

void Network::define(NetworkState& state, ToyModel model) {
  for (const auto& tensor : model.plan.tensors) {
    if (tensor.is_input()) inputs_.push_back(std::make_unique<NetworkTensor>(tensor));
  }
  state.model = std::move(model);
}

}  // namespace trtserve::fake::trt
