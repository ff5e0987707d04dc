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

/// Where an execution's output is: in its own memory, or, if the output is an input or another output under a second
/// name, in that one's memory. OpenVINO then has one tensor for both, and binds both together.
struct OutputPlace {
  enum { Own, Input, Output } of = Own;
  size_t index = 0;       // of that input, or of the earlier output
  bool narrowed = false;  // FP64, but computed in FP32
};

/// The state that an engine's contexts share. Immutable, except for members that are thread safe themselves.
struct Served {
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<OutputPlace> places;           ///< one per output
  std::shared_ptr<const ShapeModel> shapes;  ///< null for a blob
  std::shared_ptr<Marks> marks;  ///< null if no guard uses them; otherwise the model's last input is the place
  bool infer_throws = true;      ///< false: only wait() reports a failed execution
};

/// Runs one InferRequest at a time, a new one after the model is recompiled. Large inputs are read in place, and large
/// outputs are written to the memory that the caller gets; small ones are copied to and from tensors that stay bound.
/// Not thread safe except for interrupt().
class OpenVinoContext final : public ExecutionContext {
 public:
  /// Both arguments belong to the engine, which outlives the context.
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
  std::shared_ptr<Compilation::Made> made_;  // the model of request_
  std::mutex request_mutex_;
  ov::InferRequest request_;              // written under request_mutex_; interrupt() reads it from another thread
  std::vector<ov::Tensor> kept_inputs_;   // bound to request_; without memory if another is bound each time
  std::vector<ov::Tensor> kept_outputs_;  // likewise
  std::vector<size_t> checked_;           // inputs whose values must be checked
  bool has_state_ = false;                // the model has variables that outlive an execution
  std::vector<ov::Shape> good_shapes_;    // of the last inputs that were accepted
  int32_t place_ = 0;
  std::atomic<bool> interrupted_{false};
};

}  // namespace trtserve::openvino
