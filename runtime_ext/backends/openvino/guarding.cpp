#include "backends/openvino/guarding.h"

#include <algorithm>

#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/shape_of.hpp>

#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// The plugin computes wide integers in 32 bits. It narrows the output of an operation that it does not know separately
/// from the next operation's other inputs, whose types then differ. So a guard gets and passes on narrowed values.
Port narrowed(const Port& port) {
  const auto type = port.get_element_type();
  const bool wide = type == ov::element::i64 || type == ov::element::u64 || type == ov::element::u32;
  return wide ? std::make_shared<ov::op::v0::Convert>(port, ov::element::i32)->output(0) : port;
}

}  // namespace

std::string tensor_name(Port port) {
  while (port.get_names().empty() && port.get_node()->get_input_size() > 0 &&
         (ov::is_type<ov::op::v0::Convert>(port.get_node()) || ov::is_type<Guard>(port.get_node()))) {
    port = port.get_node()->input_value(0);
  }
  const auto& names = port.get_names();
  return names.empty() ? port.get_node()->get_friendly_name() : *std::min_element(names.begin(), names.end());
}

bool is_constant(const Port& port) { return ov::is_type<ov::op::v0::Constant>(port.get_node_shared_ptr()); }

Port shape_of(const Port& port) {
  const auto& shape = port.get_partial_shape();
  if (shape.is_dynamic()) return std::make_shared<ov::op::v3::ShapeOf>(port, ov::element::i64);
  const auto dims = shape.to_shape();
  return std::make_shared<ov::op::v0::Constant>(ov::element::i64, ov::Shape{dims.size()}, dims);
}

Subject subject_of(const NodePtr& node, size_t port) {
  return {node->get_friendly_name(), node->get_type_name(), tensor_name(node->input_value(port))};
}

size_t along(const NodePtr& node, size_t data_port, int64_t axis) {
  const auto rank = node->get_input_partial_shape(data_port).rank();
  if (rank.is_dynamic()) {
    fail(Kind::Unsupported, "node '", node->get_friendly_name(), "' (", node->get_type_name(),
         ") has data of an unknown number of dimensions: export the model with known ranks");
  }
  return static_cast<size_t>(axis < 0 ? axis + rank.get_length() : axis);
}

void Guarding::put(const NodePtr& node, size_t port, const ov::OutputVector& others, Check check, int harmless) const {
  const auto source = node->input_value(port);
  ov::OutputVector inputs = {narrowed(source)};
  for (const auto& other : others) inputs.push_back(narrowed(other));
  const bool needs_marks = !is_constant(source) || !std::all_of(others.begin(), others.end(), is_constant);
  if (needs_marks) inputs.push_back(places_.in(model_));
  const auto guard = std::make_shared<Guard>(inputs, std::make_shared<const Check>(std::move(check)),
                                             needs_marks ? marks_ : nullptr, harmless);
  guard->set_friendly_name(c10::str(node->get_friendly_name(), "/guard", port));
  Port checked = guard->output(0);
  const auto type = source.get_element_type();
  if (checked.get_element_type() != type) checked = std::make_shared<ov::op::v0::Convert>(checked, type);
  node->input(port).replace_source_output(checked);
}

void Guarding::put_with(const NodePtr& node, size_t port, size_t first, int harmless) const {
  const auto refused_too = [marks = marks_](const ov::TensorVector& tensors) {
    if (const auto refusal = marks->refusal(*tensors.back().data<const int32_t>())) throw Error(*refusal);
  };
  // The first guard's output is an input here, so that the first guard runs first.
  put(node, port, {node->input_value(first)}, refused_too, harmless);
}

}  // namespace trtserve::openvino
