#include "backends/openvino/reductions.h"

#include <functional>
#include <numeric>
#include <optional>

#include <openvino/frontend/onnx/extension/conversion.hpp>
#include <openvino/op/abs.hpp>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/exp.hpp>
#include <openvino/op/is_finite.hpp>
#include <openvino/op/log.hpp>
#include <openvino/op/range.hpp>
#include <openvino/op/reduce_l1.hpp>
#include <openvino/op/reduce_max.hpp>
#include <openvino/op/reduce_sum.hpp>
#include <openvino/op/select.hpp>
#include <openvino/op/shape_of.hpp>
#include <openvino/op/squeeze.hpp>
#include <openvino/op/subtract.hpp>

namespace trtserve::openvino {

namespace {

using ov::frontend::NodeContext;
using Value = ov::Output<ov::Node>;

template <typename Op, typename... Args>
Value make(Args&&... args) {
  return std::make_shared<Op>(std::forward<Args>(args)...)->output(0);
}

Value constant(const std::vector<int64_t>& values) {
  return make<ov::op::v0::Constant>(ov::element::i64, ov::Shape{values.size()}, values);
}

Value scalar(const ov::element::Type& type, int64_t value) {
  return make<ov::op::v0::Constant>(type, ov::Shape{}, std::vector<int64_t>{value});
}

Value all_axes(const Value& data) {
  const auto rank = data.get_partial_shape().rank();
  if (rank.is_static()) {
    std::vector<int64_t> axes(static_cast<size_t>(rank.get_length()));
    std::iota(axes.begin(), axes.end(), 0);
    return constant(axes);
  }
  const auto shape_of_shape = make<ov::op::v3::ShapeOf>(make<ov::op::v3::ShapeOf>(data));
  return make<ov::op::v4::Range>(scalar(ov::element::i64, 0), make<ov::op::v0::Squeeze>(shape_of_shape),
                                 scalar(ov::element::i64, 1), ov::element::i64);
}

/// The axes from the attribute (up to opset 17) or the input (from opset 18); nothing if neither names an axis.
std::optional<Value> given_axes(const NodeContext& node) {
  if (node.has_attribute("axes")) {
    const auto axes = node.get_attribute<std::vector<int64_t>>("axes");
    return axes.empty() ? std::nullopt : std::optional(constant(axes));
  }
  if (node.get_input_size() < 2) return std::nullopt;
  const auto axes = node.get_input(1);
  const auto& shape = axes.get_partial_shape();
  const bool none = shape.rank().is_static() && shape.size() == 1 && shape[0] == ov::Dimension(0);
  // An omitted optional input has a name, but no shape.
  const bool left_out = axes.get_element_type() == ov::element::dynamic;
  return none || left_out ? std::nullopt : std::optional(axes);
}

/// How to reduce over known axes, and what to do with each element if there are none.
struct Reduction {
  std::function<Value(const Value& data, const Value& axes, bool keep)> reduce;
  std::function<Value(const Value& data)> of_each;
};

ov::OutputVector convert(const NodeContext& node, const Reduction& reduction) {
  const auto data = node.get_input(0);
  const bool keep = node.get_attribute<int64_t>("keepdims", 1) != 0;
  const auto axes = given_axes(node);
  if (!axes && node.get_attribute<int64_t>("noop_with_empty_axes", 0) != 0) return {reduction.of_each(data)};
  return {reduction.reduce(data, axes ? *axes : all_axes(data), keep)};
}

Value reduce_log_sum_exp(const Value& data, const Value& axes, bool keep) {
  // Subtract the greatest element first, so that nothing overflows, unless it is infinite.
  const auto& type = data.get_element_type();
  const auto zero = scalar(type, 0);
  const auto finite = [&](const Value& greatest) {
    return make<ov::op::v1::Select>(make<ov::op::v10::IsFinite>(greatest), greatest, zero);
  };
  const auto kept = finite(make<ov::op::v1::ReduceMax>(data, axes, true));
  const auto exp = make<ov::op::v0::Exp>(make<ov::op::v1::Subtract>(data, kept));
  const auto log = make<ov::op::v0::Log>(make<ov::op::v1::ReduceSum>(exp, axes, keep));
  return make<ov::op::v1::Add>(log, finite(make<ov::op::v1::ReduceMax>(data, axes, keep)));
}

std::shared_ptr<ov::Extension> extension(const char* type, Reduction reduction) {
  return std::make_shared<ov::frontend::onnx::ConversionExtension>(
      type, [reduction = std::move(reduction)](const NodeContext& node) { return convert(node, reduction); });
}

}  // namespace

std::vector<std::shared_ptr<ov::Extension>> reductions() {
  using ov::op::v0::Log;
  const auto l1 = [](const Value& data, const Value& axes, bool keep) {
    return make<ov::op::v4::ReduceL1>(data, axes, keep);
  };
  const auto log_sum = [](const Value& data, const Value& axes, bool keep) {
    return make<Log>(make<ov::op::v1::ReduceSum>(data, axes, keep));
  };
  return {
      extension("ReduceL1", {l1, [](const Value& data) { return make<ov::op::v0::Abs>(data); }}),
      extension("ReduceLogSum", {log_sum, [](const Value& data) { return make<Log>(data); }}),
      extension("ReduceLogSumExp", {reduce_log_sum_exp, [](const Value& data) { return data; }}),
  };
}

}  // namespace trtserve::openvino
