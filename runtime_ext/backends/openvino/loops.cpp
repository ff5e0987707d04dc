#include "backends/openvino/loops.h"

#include <optional>

#include <openvino/op/constant.hpp>
#include <openvino/op/loop.hpp>
#include <openvino/op/maximum.hpp>
#include <openvino/op/result.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>

#include "backends/openvino/guard.h"

namespace trtserve::openvino {

namespace {

using ov::op::v0::Constant;
using ov::op::v5::Loop;

/// A loop with this few iterations ends soon enough, and OpenVINO may unroll it.
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

/// OpenVINO reads a negative trip count as unlimited. The frontend writes one if the file has no count.
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

/// Refuses the loop condition of a stopped or refused execution: its guard then makes the condition false, and the loop
/// ends.
Check stop_check(std::shared_ptr<const Marks> marks) {
  return [marks = std::move(marks)](const ov::TensorVector& tensors) {
    const auto place = *tensors[1].data<const int32_t>();
    if (marks->is_stopped(place)) fail(Kind::Cancelled, "the execution was stopped in a loop");
    if (const auto refusal = marks->refusal(place)) throw Error(*refusal);
  };
}

void watch_loop(const std::shared_ptr<Loop>& loop, Places& places, const std::shared_ptr<Marks>& marks) {
  const auto condition = loop->get_special_body_ports().body_condition_output_idx;
  const auto& body = loop->get_function();
  const auto result = body->get_results().at(static_cast<size_t>(condition));
  const auto guard = std::make_shared<Guard>(ov::OutputVector{result->input_value(0), places.in(body)},
                                             std::make_shared<const Check>(stop_check(marks)), marks);
  result->input(0).replace_source_output(guard->output(0));
  bound_trips(*loop);
}

}  // namespace

void add_loop_guards(const std::shared_ptr<ov::Model>& model, Places& places, const std::shared_ptr<Marks>& marks) {
  for (const auto& node : model->get_ordered_ops()) {
    const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node);
    if (!parent) continue;
    for (const auto& body : parent->get_functions()) add_loop_guards(body, places, marks);
    if (may_be_long(*node)) watch_loop(ov::as_type_ptr<Loop>(node), places, marks);
  }
}

}  // namespace trtserve::openvino
