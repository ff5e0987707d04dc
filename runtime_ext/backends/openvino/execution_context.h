#pragma once

#include <memory>
#include <vector>

#include <openvino/runtime/infer_request.hpp>

#include "backends/openvino/loops.h"
#include "backends/openvino/shape_model.h"
#include "core/backend.h"

namespace trtserve::openvino {

/// What the contexts of an engine share. Immutable but for what is thread safe itself.
struct Served {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::shared_ptr<const ShapeModel> shapes;  ///< null for a blob
  std::shared_ptr<StopFlags> stops;          ///< null where nothing loops; else the model's last input is for them
};

/// One InferRequest. Inputs are read where they lie, and outputs are written where the caller finds them.
class OpenVinoContext final : public ExecutionContext {
 public:
  /// `served` outlives the context: it is the engine's.
  OpenVinoContext(ov::InferRequest request, const Served& served);

  std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) override;
  void interrupt() noexcept override;

 private:
  void check_empty(c10::ArrayRef<at::Tensor> inputs) const;

  ov::InferRequest request_;
  const Served& served_;
  int32_t stop_place_ = 0;
};

}  // namespace trtserve::openvino
