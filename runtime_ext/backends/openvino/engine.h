#pragma once

#include <memory>

#include <openvino/runtime/compiled_model.hpp>

#include "core/backend.h"

namespace trtserve::openvino {

/// A compiled model on the CPU.
class OpenVinoEngine final : public BackendEngine {
 public:
  /// `stream_threads` are those that the model keeps; null where it keeps none.
  OpenVinoEngine(ov::CompiledModel model, int instances, std::shared_ptr<const int> stream_threads);

  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  at::Device device() const override { return at::kCPU; }
  int instances() const override { return instances_; }
  std::map<std::string, std::string> properties() const override;
  std::unique_ptr<ExecutionContext> create_context() override;

 private:
  const std::shared_ptr<const int> stream_threads_;  // first, so that they are given back once the model is gone
  ov::CompiledModel model_;
  const int instances_;
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
};

}  // namespace trtserve::openvino
