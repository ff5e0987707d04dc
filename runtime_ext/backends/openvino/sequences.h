#pragma once

#include <memory>

#include <openvino/core/extension.hpp>
#include <openvino/op/op.hpp>

namespace trtserve::openvino {

/// The item of a sequence at a position that a request chooses: its first input, which OpenVINO has picked, and the
/// position. It stands in a model only until a guard for the position is put in its place. Immutable.
class SequenceItem final : public ov::op::Op {
 public:
  OPENVINO_OP("SequenceItem", "trtserve")

  SequenceItem(const ov::Output<ov::Node>& item, const ov::Output<ov::Node>& position, int64_t size);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;

  /// Of the sequence.
  int64_t size() const { return size_; }

 private:
  const int64_t size_;
};

/// ONNX's SequenceAt, with positions counted from the end where they are negative. OpenVINO's own takes another item
/// for a position that the sequence does not have.
std::shared_ptr<ov::Extension> sequence_at();

}  // namespace trtserve::openvino
