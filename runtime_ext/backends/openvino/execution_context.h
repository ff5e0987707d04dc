#pragma once

#include <vector>

#include <openvino/runtime/infer_request.hpp>

#include "core/backend.h"

namespace trtserve::openvino {

/// One InferRequest. Inputs are read where they lie, and outputs are written where the caller finds them.
class OpenVinoContext final : public ExecutionContext {
 public:
  /// `outputs` outlives the context: it is the engine's.
  OpenVinoContext(ov::InferRequest request, const std::vector<TensorSpec>& outputs);

  std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) override;

 private:
  ov::InferRequest request_;
  const std::vector<TensorSpec>& outputs_;
};

}  // namespace trtserve::openvino
