#pragma once

#include <memory>

#include <openvino/core/extension.hpp>
#include <openvino/op/op.hpp>

namespace trtserve::openvino {

/// Marks the item of a sequence at a position that the request determines. Its inputs are the item, which OpenVINO has
/// selected, and the position. A guard for the position replaces it in the model. Immutable.
class SequenceItem final : public ov::op::Op {
 public:
  OPENVINO_OP("SequenceItem", "trtserve")

  SequenceItem(const ov::Output<ov::Node>& item, const ov::Output<ov::Node>& position, int64_t size);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;

  /// The length of the sequence.
  int64_t size() const { return size_; }

 private:
  const int64_t size_;
};

/// ONNX's SequenceAt, with positions counted from the end where they are negative. OpenVINO's own version returns
/// another item for a position outside the sequence.
std::shared_ptr<ov::Extension> sequence_at();

}  // namespace trtserve::openvino
