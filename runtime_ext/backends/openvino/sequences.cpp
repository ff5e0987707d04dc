#include "backends/openvino/sequences.h"

#include <algorithm>

#include <openvino/frontend/onnx/extension/conversion.hpp>
#include <openvino/frontend/sequence_at.hpp>
#include <openvino/frontend/sequence_mark.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/less.hpp>
#include <openvino/op/select.hpp>
#include <openvino/op/util/framework_node.hpp>

namespace trtserve::openvino {

namespace {

using ov::op::v0::Constant;

ov::OutputVector convert(const ov::frontend::NodeContext& node) {
  const auto sequence = node.get_input(0);
  const auto position = node.get_input(1);
  const auto constant = ov::as_type_ptr<Constant>(position.get_node_shared_ptr());
  const auto mark = ov::as_type_ptr<ov::frontend::SequenceMark>(sequence.get_node_shared_ptr());
  const auto items = mark ? mark->get_sequence() : ov::OutputVector();
  const bool known = mark && std::none_of(items.begin(), items.end(), [](const auto& item) {
                       return ov::is_type<ov::op::util::FrameworkNode>(item.get_node());
                     });
  if (!known) {
    if (constant) return {std::make_shared<ov::frontend::SequenceAt>(sequence, position)};
    OPENVINO_THROW("a position that is not constant is only supported in a sequence of known length");
  }
  const auto size = static_cast<int64_t>(items.size());
  if (constant) {
    const auto given = constant->cast_vector<int64_t>().at(0);
    if (given < -size || given >= size) {
      OPENVINO_THROW("the position ", given, " is outside a sequence of length ", size);
    }
    return {items.at(static_cast<size_t>(given < 0 ? given + size : given))};
  }
  const auto& type = position.get_element_type();
  const auto is_negative = std::make_shared<ov::op::v1::Less>(position, Constant::create(type, {}, {0}));
  const auto from_end = std::make_shared<ov::op::v1::Add>(position, Constant::create(type, {}, {size}));
  const auto place = std::make_shared<ov::op::v1::Select>(is_negative, from_end, position);
  const auto item = std::make_shared<ov::frontend::SequenceAt>(sequence, place);
  return {std::make_shared<SequenceItem>(item, position, size)};
}

}  // namespace

SequenceItem::SequenceItem(const ov::Output<ov::Node>& item, const ov::Output<ov::Node>& position, int64_t size)
    : Op({item, position}), size_(size) {
  constructor_validate_and_infer_types();
}

void SequenceItem::validate_and_infer_types() {
  set_output_type(0, get_input_element_type(0), get_input_partial_shape(0));
}

std::shared_ptr<ov::Node> SequenceItem::clone_with_new_inputs(const ov::OutputVector& inputs) const {
  return std::make_shared<SequenceItem>(inputs.at(0), inputs.at(1), size_);
}

std::shared_ptr<ov::Extension> sequence_at() {
  return std::make_shared<ov::frontend::onnx::ConversionExtension>("SequenceAt", convert);
}

}  // namespace trtserve::openvino
