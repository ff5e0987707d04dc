#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <openvino/op/op.hpp>

#include "backends/openvino/marks.h"
#include "core/error.h"

namespace trtserve::openvino {

/// Checks the tensors that a guard gets, and throws an Error to refuse the request. Called by many threads
/// concurrently.
using Check = std::function<void(const ov::TensorVector&)>;

/// An operation that passes its first input on unchanged if a check of all its inputs passes. It protects an operation
/// that trusts its inputs. Without marks, a failed check breaks the execution off, which may damage the graph. With
/// marks, the refusal is recorded there, and harmless numbers are passed on instead, so that the execution runs to its
/// end; the last input is then the execution's place. Thread safe: executions share it.
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
  const std::shared_ptr<Marks> marks_;  // may be null
  const int harmless_;
};

/// Extracts a guard's refusal from the exception into which OpenVINO wrapped it.
std::optional<Error> refusal(const std::exception& error);

}  // namespace trtserve::openvino
