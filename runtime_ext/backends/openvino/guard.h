#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <openvino/op/op.hpp>

#include "backends/openvino/marks.h"
#include "core/error.h"

namespace trtserve::openvino {

/// Looks at the tensors that a guard gets, and refuses the request with an Error. Any number of threads call it at
/// once.
using Check = std::function<void(const ov::TensorVector&)>;

/// An operation that hands on its first input as it is, once a check of all its inputs has passed. It stands in a model
/// before an operation that trusts its inputs. What does not pass breaks the execution off, which may leave a graph
/// damaged; or, with marks, it is noted there and a harmless number is handed on in place of each, so that the
/// execution comes to its end: the last input is then the execution's place. Thread safe: executions share it.
class Guard final : public ov::op::Op {
 public:
  OPENVINO_OP("Guard", "trtserve")

  Guard(const ov::OutputVector& inputs, std::shared_ptr<const Check> check, std::shared_ptr<Marks> marks = nullptr,
        int harmless = 0);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;
  bool has_evaluate() const override { return true; }

 private:
  const std::shared_ptr<const Check> check_;
  const std::shared_ptr<Marks> marks_;  // null: none
  const int harmless_;
};

/// What a guard refused with, found again in the exception that OpenVINO made of it.
std::optional<Error> refusal(const std::exception& error);

}  // namespace trtserve::openvino
