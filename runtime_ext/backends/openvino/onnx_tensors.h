#pragma once

#include <string_view>

#include "backends/openvino/onnx_messages.h"

namespace trtserve::openvino {

/// Refuses tensors whose data is not in the file. OpenVINO would read other files for them, or its own memory.
class TensorCheck final : public TensorVisitor {
 public:
  void tensor(std::string_view message) override;
  void sparse_tensor(std::string_view message) override;
};

}  // namespace trtserve::openvino
