#include "backends/openvino/loops.h"

#include <algorithm>
#include <optional>

#include <openvino/op/constant.hpp>
#include <openvino/op/if.hpp>
#include <openvino/op/loop.hpp>
#include <openvino/op/maximum.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/util/sub_graph_base.hpp>

#include "backends/openvino/guard.h"

namespace trtserve::openvino {

namespace {

using Port = ov::Output<ov::Node>;
using ov::op::v0::Constant;
using ov::op::v0::Parameter;
using ov::op::v5::Loop;

/// A loop of so few iterations ends soon enough, and OpenVINO may unroll it.
constexpr int64_t kFewIterations = 1000;

std::optional<int64_t> constant_trips(const Loop& loop) {
  const auto trips = ov::as_type_ptr<Constant>(loop.get_input_node_shared_ptr(0));
  if (!trips) return std::nullopt;
  return trips->cast_vector<int64_t>().at(0);
}

bool may_be_long(const ov::Node& node) {
  const auto* loop = ov::as_type<const Loop>(&node);
  if (loop == nullptr) return false;
  const auto trips = constant_trips(*loop);
  return !trips || *trips < 0 || *trips > kFewIterations;
}

bool has_long_loop(const ov::Model& model) {
  for (const auto& node : model.get_ordered_ops()) {
    if (may_be_long(*node)) return true;
    const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node);
    if (!parent) continue;
    for (const auto& body : parent->get_functions()) {
      if (has_long_loop(*body)) return true;
    }
  }
  return false;
}

/// To OpenVINO a negative trip count means without end. The frontend writes one where the file has no count.
void bound_trips(Loop& loop) {
  const auto trips = loop.input_value(0);
  const auto zero = Constant::create(trips.get_element_type(), trips.get_shape(), {0});
  const auto count = constant_trips(loop);
  const auto& node = *trips.get_node();
  if (!count) {
    loop.input(0).replace_source_output(std::make_shared<ov::op::v1::Maximum>(trips, zero));
  } else if (*count < 0 && node.get_friendly_name() != node.get_name()) {
    loop.input(0).replace_source_output(zero);
  }
}

Check stop_check(std::shared_ptr<const Marks> marks) {
  return [marks = std::move(marks)](const ov::TensorVector& tensors) {
    if (marks->is_stopped(*tensors[1].data<const int32_t>()))
      fail(Kind::Cancelled, "the execution was stopped in a loop");
  };
}

void watch(const std::shared_ptr<ov::Model>& model, const Port& place, const std::shared_ptr<Marks>& marks);

void watch_loop(const std::shared_ptr<Loop>& loop, const std::shared_ptr<Parameter>& place,
                const std::shared_ptr<Marks>& marks) {
  const auto condition = loop->get_special_body_ports().body_condition_output_idx;
  const auto result = loop->get_function()->get_results().at(static_cast<size_t>(condition));
  const auto guard = std::make_shared<Guard>(ov::OutputVector{result->input_value(0), place},
                                             std::make_shared<const Check>(stop_check(marks)));
  result->input(0).replace_source_output(guard->output(0));
  bound_trips(*loop);
}

void watch(const std::shared_ptr<ov::Model>& model, const Port& place, const std::shared_ptr<Marks>& marks) {
  for (const auto& node : model->get_ordered_ops()) {
    if (const auto branch = ov::as_type_ptr<ov::op::v8::If>(node)) {
      if (!has_long_loop(*branch->get_then_body()) && !has_long_loop(*branch->get_else_body())) continue;
      const auto in_then = add_place(branch->get_then_body());
      const auto in_else = add_place(branch->get_else_body());
      branch->set_input(place, in_then, in_else);
      watch(branch->get_then_body(), in_then, marks);
      watch(branch->get_else_body(), in_else, marks);
    } else if (const auto parent = ov::as_type_ptr<ov::op::util::SubGraphOp>(node)) {
      if (!may_be_long(*parent) && !has_long_loop(*parent->get_function())) continue;
      const auto within = add_place(parent->get_function());
      parent->set_invariant_input(within, place);
      watch(parent->get_function(), within, marks);
      if (may_be_long(*parent)) watch_loop(ov::as_type_ptr<Loop>(parent), within, marks);
    } else {
      continue;
    }
    node->validate_and_infer_types();
  }
}

}  // namespace

std::shared_ptr<Parameter> add_place(const std::shared_ptr<ov::Model>& model) {
  auto parameter = std::make_shared<Parameter>(ov::element::i32, ov::Shape{1});
  parameter->set_friendly_name("trtserve/place");
  model->add_parameters({parameter});
  return parameter;
}

std::shared_ptr<Parameter> add_loop_guards(const std::shared_ptr<ov::Model>& model, std::shared_ptr<Parameter> place,
                                           const std::shared_ptr<Marks>& marks) {
  if (!has_long_loop(*model)) return place;
  if (!place) place = add_place(model);
  watch(model, place, marks);
  model->validate_nodes_and_infer_types();
  return place;
}

}  // namespace trtserve::openvino
