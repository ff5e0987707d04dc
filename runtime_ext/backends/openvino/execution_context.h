#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include <openvino/runtime/infer_request.hpp>

#include "backends/openvino/compilation.h"
#include "backends/openvino/marks.h"
#include "backends/openvino/shape_model.h"
#include "core/backend.h"

namespace trtserve::openvino {

/// Where an execution's output is found: in memory of its own, or, of an output that is an input or another output
/// under a second name, in the memory of that one. OpenVINO has one tensor for both then, and binds both at once.
struct OutputPlace {
  enum { Own, Input, Output } of = Own;
  size_t index = 0;       // of the input, or of the earlier output
  bool narrowed = false;  // FP64 that is made in FP32
};

/// What the contexts of an engine share. Immutable but for what is thread safe itself.
struct Served {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<OutputPlace> places;           ///< of the outputs
  std::shared_ptr<const ShapeModel> shapes;  ///< null for a blob
  std::shared_ptr<Marks> marks;  ///< null where no guard uses them; else the model's last input is for the place
  bool infer_throws = true;      ///< false: a failed execution is only told of by wait()
};

/// One InferRequest at a time: a new one once the compiled model has been made anew. Large inputs are read where they
/// lie, and large outputs are written where the caller finds them; small ones are copied, to and from tensors that stay
/// bound. Not thread safe but for interrupt().
class OpenVinoContext final : public ExecutionContext {
 public:
  /// Both outlive the context: they are the engine's.
  OpenVinoContext(Compilation& compilation, const Served& served);

  std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) override;
  void interrupt() noexcept override;

 private:
  void bind(c10::ArrayRef<at::Tensor> inputs);
  void bind_input(size_t index, const at::Tensor& input);
  at::Tensor take_output(size_t index, c10::ScalarType dtype);
  std::vector<at::Tensor> outputs(c10::ArrayRef<at::Tensor> inputs);
  void infer();
  void renew_request();
  void check_shapes(c10::ArrayRef<at::Tensor> inputs);

  Compilation& compilation_;
  const Served& served_;
  std::shared_ptr<Compilation::Made> made_;  // what request_ belongs to
  std::mutex request_mutex_;
  ov::InferRequest request_;              // written under request_mutex_; interrupt() reads it from another thread
  std::vector<ov::Tensor> kept_inputs_;   // bound to request_; without memory where another is bound each time
  std::vector<ov::Tensor> kept_outputs_;  // likewise
  std::vector<size_t> checked_;           // inputs with values that may not fit
  bool has_state_ = false;                // variables that would outlive an execution
  std::vector<ov::Shape> good_shapes_;    // of the last inputs that were tried
  int32_t place_ = 0;
  std::atomic<bool> interrupted_{false};
};

}  // namespace trtserve::openvino
