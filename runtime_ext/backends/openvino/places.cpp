#include "backends/openvino/places.h"

#include <openvino/op/if.hpp>
#include <openvino/op/util/sub_graph_base.hpp>

#include "core/error.h"

namespace trtserve::openvino {

Places::Places(const std::shared_ptr<ov::Model>& model) { note_bodies(model); }

void Places::note_bodies(const std::shared_ptr<ov::Model>& model) {
  for (const auto& node : model->get_ordered_ops()) {
    const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node);
    if (!parent) continue;
    for (const auto& body : parent->get_functions()) {
      around_[body.get()] = {parent, model};
      note_bodies(body);
    }
  }
}

ov::Output<ov::Node> Places::in(const std::shared_ptr<ov::Model>& model) {
  if (const auto found = values_.find(model.get()); found != values_.end()) return found->second->output(0);
  const auto value = std::make_shared<ov::op::v0::Parameter>(ov::element::i32, ov::Shape{1});
  model->add_parameters({value});
  values_[model.get()] = value;
  const auto around = around_.find(model.get());
  if (around == around_.end()) return value->output(0);
  const auto outside = in(around->second.model);
  const auto& node = around->second.node;
  if (const auto branches = ov::as_type_ptr<ov::op::v8::If>(node)) {
    const bool is_then = branches->get_then_body() == model;
    branches->set_input(outside, is_then ? value : nullptr, is_then ? nullptr : value);
  } else if (const auto loop = ov::as_type_ptr<ov::op::util::SubGraphOp>(node)) {
    loop->set_invariant_input(value, outside);
  } else {
    fail(Kind::Unsupported, "node '", node->get_friendly_name(), "' (", node->get_type_name(),
         ") has nested models that cannot be guarded");
  }
  return value->output(0);
}

}  // namespace trtserve::openvino
