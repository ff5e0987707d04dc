#include "backends/openvino/guards.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <unordered_set>

#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/gather_elements.hpp>
#include <openvino/op/less.hpp>
#include <openvino/op/logical_and.hpp>
#include <openvino/op/logical_or.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/reverse_sequence.hpp>
#include <openvino/op/select.hpp>
#include <openvino/op/shape_of.hpp>
#include <openvino/op/util/gather_base.hpp>
#include <openvino/op/util/gather_nd_base.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>
#include <openvino/op/util/shape_of_base.hpp>
#include <openvino/op/util/sub_graph_base.hpp>
#include <openvino/op/util/topk_base.hpp>

#include "backends/openvino/checks.h"
#include "backends/openvino/loops.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

using NodePtr = std::shared_ptr<ov::Node>;
using Port = ov::Output<ov::Node>;

bool is_constant(const Port& port) { return ov::is_type<ov::op::v0::Constant>(port.get_node_shared_ptr()); }

/// The shape of a tensor as a tensor.
Port shape_of(const Port& port) {
  const auto& shape = port.get_partial_shape();
  if (shape.is_dynamic()) return std::make_shared<ov::op::v3::ShapeOf>(port, ov::element::i64);
  const auto dims = shape.to_shape();
  return std::make_shared<ov::op::v0::Constant>(ov::element::i64, ov::Shape{dims.size()}, dims);
}

/// What the file calls the tensor, or that from which it was converted.
std::string tensor_name(Port port) {
  while (port.get_names().empty() && port.get_node()->get_input_size() > 0 &&
         (ov::is_type<ov::op::v0::Convert>(port.get_node()) || ov::is_type<Guard>(port.get_node()))) {
    port = port.get_node()->input_value(0);
  }
  const auto& names = port.get_names();
  return names.empty() ? port.get_node()->get_friendly_name() : *std::min_element(names.begin(), names.end());
}

Subject subject_of(const NodePtr& node, size_t port) {
  return {node->get_friendly_name(), node->get_type_name(), tensor_name(node->input_value(port))};
}

/// The plugin computes wide integers in 32 bits. It narrows what comes of an operation that it does not know apart from
/// the other inputs of the next one, whose types then differ: so a guard sees, and gives, what is narrow already.
Port narrowed(const Port& port) {
  const auto type = port.get_element_type();
  const bool wide = type == ov::element::i64 || type == ov::element::u64 || type == ov::element::u32;
  return wide ? std::make_shared<ov::op::v0::Convert>(port, ov::element::i32)->output(0) : port;
}

/// Where the guards of a model tell of what they refuse. Zeros are within all indices, so the execution goes on with
/// them.
struct Telling {
  std::shared_ptr<ov::op::v0::Parameter> place;
  std::shared_ptr<Marks> marks;
};

void put_guard(const NodePtr& node, size_t port, const ov::OutputVector& others, Check check,
               const Telling* telling = nullptr) {
  const auto source = node->input_value(port);
  const bool tells = telling != nullptr && telling->place && !is_constant(source);
  ov::OutputVector inputs = {narrowed(source)};
  for (const auto& other : others) inputs.push_back(narrowed(other));
  if (tells) inputs.push_back(telling->place);
  const auto guard = std::make_shared<Guard>(inputs, std::make_shared<const Check>(std::move(check)),
                                             tells ? telling->marks : nullptr);
  guard->set_friendly_name(c10::str(node->get_friendly_name(), "/guard", port));
  Port checked = guard->output(0);
  const auto type = source.get_element_type();
  if (checked.get_element_type() != type) checked = std::make_shared<ov::op::v0::Convert>(checked, type);
  node->input(port).replace_source_output(checked);
}

size_t along(const NodePtr& node, size_t data_port, int64_t axis) {
  const auto rank = node->get_input_partial_shape(data_port).rank();
  if (rank.is_dynamic()) {
    fail(Kind::Unsupported, "node '", node->get_friendly_name(), "' (", node->get_type_name(),
         ") has data of an unknown number of dimensions: export the model with known ranks");
  }
  return static_cast<size_t>(axis < 0 ? axis + rank.get_length() : axis);
}

/// Whether constant indices are within the dimension in every request that has anything in it.
bool known_to_fit(const Port& indices, const ov::Dimension& dim) {
  if (!is_constant(indices)) return false;
  const auto values = ov::as_type_ptr<ov::op::v0::Constant>(indices.get_node_shared_ptr())->cast_vector<int64_t>();
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return values.empty() || std::max(*most + 1, -*least) <= std::max<int64_t>(1, dim.get_min_length());
}

void guard_indices(const NodePtr& node, int64_t given_axis, const Telling& telling) {
  const size_t axis = along(node, 0, given_axis);
  const auto data = node->input_value(0);
  if (known_to_fit(node->input_value(1), data.get_partial_shape()[static_cast<std::ptrdiff_t>(axis)])) return;
  put_guard(node, 1, {shape_of(data)}, indices_along(subject_of(node, 1), axis), &telling);
}

int64_t constant_axis(const NodePtr& node, size_t port) {
  const auto axis = ov::as_type_ptr<ov::op::v0::Constant>(node->get_input_node_shared_ptr(port));
  if (!axis) {
    fail(Kind::Unsupported, "node '", node->get_friendly_name(), "' (", node->get_type_name(),
         ") takes its axis from a tensor: export the model with a constant axis");
  }
  return axis->cast_vector<int64_t>().at(0);
}

void guard_rows(const NodePtr& node, size_t batch_dims, const Telling& telling) {
  along(node, 0, 0);
  put_guard(node, 1, {shape_of(node->input_value(0))}, index_rows(subject_of(node, 1), batch_dims), &telling);
}

/// A range that steps away from its end is empty in ONNX; OpenVINO's goes on for as many steps as the distance is long.
void end_range(const NodePtr& node) {
  using namespace ov::op;
  // OpenVINO's own Range takes numbers of different types; what compares them does not.
  const auto as_made = [&](size_t port) {
    const auto& type = node->get_output_element_type(0);
    const auto given = node->input_value(port);
    return given.get_element_type() == type ? given : std::make_shared<v0::Convert>(given, type)->output(0);
  };
  const auto start = as_made(0);
  const auto stop = as_made(1);
  const auto step = as_made(2);
  const auto zero = v0::Constant::create(step.get_element_type(), {}, {0});
  const auto less = [](const Port& a, const Port& b) { return std::make_shared<v1::Less>(a, b); };
  const auto up = std::make_shared<v1::LogicalAnd>(less(zero, step), less(stop, start));
  const auto down = std::make_shared<v1::LogicalAnd>(less(step, zero), less(start, stop));
  const auto away = std::make_shared<v1::LogicalOr>(up, down);
  node->input(1).replace_source_output(std::make_shared<v1::Select>(away, start, stop));
}

void guard_range(const NodePtr& node, size_t most_bytes) {
  const size_t most = most_bytes / std::max<size_t>(1, node->get_output_element_type(0).size());
  const auto subject = subject_of(node, 0);
  end_range(node);
  put_guard(node, 0, {node->input_value(1), node->input_value(2)}, range_length(subject, most));
}

/// Which inputs of an operation, by their ports, choose the size of its output.
const std::map<std::string, std::vector<size_t>>& size_ports() {
  static const std::map<std::string, std::vector<size_t>> ports = {
      {"Tile", {1}},          {"Broadcast", {1}}, {"Pad", {1, 2}},  {"Range", {0, 1, 2}}, {"Interpolate", {1, 2}},
      {"Eye", {0, 1, 2}},     {"OneHot", {1}},    {"TopK", {1}},    {"DFT", {2}},         {"IDFT", {2}},
      {"RDFT", {2}},          {"IRDFT", {2}},     {"STFT", {2, 3}}, {"Col2Im", {1, 2}},   {"ISTFT", {2, 3}},
      {"RandomUniform", {0}},
  };
  return ports;
}

bool contains(const std::vector<size_t>& ports, size_t port) {
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

/// Guards the nodes of one model. What is needed of a node's surroundings is looked up here.
class Guards {
 public:
  Guards(const std::shared_ptr<ov::Model>& model, size_t most_bytes, Telling telling)
      : model_(model), most_bytes_(most_bytes), telling_(std::move(telling)) {}

  void add() {
    const auto nodes = model_->get_ordered_ops();
    for (const auto& node : nodes) note_origin(*node);
    for (const auto& node : nodes) {
      if (const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node)) {
        for (const auto& body : parent->get_functions()) {
          Guards within(body, most_bytes_, {});
          within.add();
          if (const auto loop = ov::as_type_ptr<ov::op::util::SubGraphOp>(node)) within.check_scanned(*loop);
        }
      }
      guard(node);
    }
  }

  /// OpenVINO joins what the iterations leave as if all were of one shape, and writes beyond it where they are not.
  void check_scanned(const ov::op::util::SubGraphOp& loop) const {
    using Loop = ov::op::util::SubGraphOp;
    bool grows = false;  // what one iteration hands to the next may be of another shape
    for (const auto& input : loop.get_input_descriptions()) {
      if (!ov::as_type_ptr<Loop::MergedInputDescription>(input)) continue;
      grows |= model_->get_parameters().at(input->m_body_parameter_index)->get_output_partial_shape(0).is_dynamic();
    }
    for (const auto& output : loop.get_output_descriptions()) {
      if (!ov::as_type_ptr<Loop::ConcatOutputDescription>(output)) continue;
      const auto scanned = model_->get_results().at(output->m_body_value_index)->input_value(0);
      if (scanned.get_partial_shape().is_static() || (!grows && free_shapes_.count(scanned.get_node()) == 0)) continue;
      fail(Kind::Unsupported, "node '", loop.get_friendly_name(), "' (", loop.get_type_name(), ") joins what its ",
           "iterations leave, which may differ in shape: export the model with fixed shapes within the loop");
    }
  }

 private:
  /// Values that come of the inputs' values, and not of their shapes alone, are the client's. So are the shapes that
  /// such values choose, and so the values that come of these shapes.
  void note_origin(const ov::Node& node) {
    const auto inputs = node.input_values();
    const bool free_shape = std::any_of(inputs.begin(), inputs.end(),
                                        [this](const Port& port) { return free_shapes_.count(port.get_node()) > 0; });
    if (ov::is_type<ov::op::util::ShapeOfBase>(&node)) {
      if (free_shape) clients_.insert(&node);
      return;
    }
    const bool clients =
        std::any_of(inputs.begin(), inputs.end(), [this](const Port& port) { return is_clients(port); });
    if (clients || ov::is_type<ov::op::v0::Parameter>(&node)) clients_.insert(&node);
    if (free_shape || (clients && shape_is_of_values(node))) free_shapes_.insert(&node);
  }

  /// Whether the values of the node's inputs choose the shape of its output; of most operations their shapes do.
  bool shape_is_of_values(const ov::Node& node) const {
    static const std::set<std::string> of_all = {"NonZero", "NonMaxSuppression", "Unique", "If", "Loop"};
    static const std::set<std::string> of_others = {"Reshape", "Slice", "StridedSlice", "VariadicSplit"};
    const std::string type = node.get_type_name();
    if (of_all.count(type) > 0) return true;
    const auto sizes = size_ports().find(type);
    for (size_t port = 0; port < node.get_input_size(); ++port) {
      if (!is_clients(node.input_value(port))) continue;
      if (of_others.count(type) > 0 && port > 0) return true;
      if (sizes != size_ports().end() && contains(sizes->second, port)) return true;
    }
    return false;
  }

  bool is_clients(const Port& port) const { return clients_.count(port.get_node()) > 0; }

  void guard(const NodePtr& node) {
    static const std::map<std::string, std::function<void(const NodePtr&, const Telling&)>> index_rules = {
        {"Gather",
         [](const NodePtr& n, const Telling& t) {
           guard_indices(n, ov::as_type_ptr<ov::op::util::GatherBase>(n)->get_axis(), t);
         }},
        {"GatherElements",
         [](const NodePtr& n, const Telling& t) {
           guard_indices(n, ov::as_type_ptr<ov::op::v6::GatherElements>(n)->get_axis(), t);
         }},
        {"GatherND",
         [](const NodePtr& n, const Telling& t) {
           guard_rows(n, ov::as_type_ptr<ov::op::util::GatherNDBase>(n)->get_batch_dims(), t);
         }},
        {"ScatterElementsUpdate", [](const NodePtr& n, const Telling& t) { guard_indices(n, constant_axis(n, 3), t); }},
        {"ScatterUpdate", [](const NodePtr& n, const Telling& t) { guard_indices(n, constant_axis(n, 3), t); }},
        {"ScatterNDUpdate", [](const NodePtr& n, const Telling& t) { guard_rows(n, 0, t); }},
    };
    const std::string type = node->get_type_name();
    if (const auto rule = index_rules.find(type); rule != index_rules.end()) rule->second(node, telling_);
    guard_lengths(node, type);
    guard_size(node, type);
  }

  void guard_lengths(const NodePtr& node, const std::string& type) {
    const auto guard = [&](size_t port, size_t axis, int64_t least, int64_t more) {
      if (!is_clients(node->input_value(port))) return;
      put_guard(node, port, {shape_of(node->input_value(0))}, up_to_size(subject_of(node, port), least, axis, more));
    };
    if (type == "LSTMSequence") guard(3, 1, 0, 0);
    if (type == "GRUSequence" || type == "RNNSequence") guard(2, 1, 0, 0);
    if (type == "ReverseSequence") {
      guard(1, along(node, 0, ov::as_type_ptr<ov::op::v0::ReverseSequence>(node)->get_origin_sequence_axis()), 0, 0);
    }
    if (type == "ROIAlign") guard(2, 0, 0, -1);
    if (type == "TopK" && !is_clients(node->input_value(1))) {
      // OpenVINO makes as many as it is asked for, however few there are.
      const auto axis = along(node, 0, static_cast<int64_t>(ov::as_type_ptr<ov::op::util::TopKBase>(node)->get_axis()));
      const auto k = ov::as_type_ptr<ov::op::v0::Constant>(node->get_input_node_shared_ptr(1));
      const auto size = node->get_input_partial_shape(0)[static_cast<std::ptrdiff_t>(axis)];
      if (k && k->cast_vector<int64_t>().at(0) <= size.get_min_length()) return;
      put_guard(node, 1, {shape_of(node->input_value(0))}, up_to_size(subject_of(node, 1), 0, axis, 0));
    }
    const bool divides = type == "Divide" || type == "Mod" || type == "FloorMod";
    if (divides && node->get_input_element_type(1).is_integral_number() && is_clients(node->input_value(1))) {
      put_guard(node, 1, {}, no_zero(subject_of(node, 1)));
    }
  }

  void guard_size(const NodePtr& node, const std::string& type) {
    const auto found = size_ports().find(type);
    if (found == size_ports().end()) return;
    const auto chosen = [&](size_t port) {
      return contains(found->second, port) && is_clients(node->input_value(port));
    };
    std::vector<OperationInput> told;
    ov::OutputVector sources;
    auto apart = node->input_values();
    for (size_t port = 0; port < node->get_input_size(); ++port) {
      const auto source = node->input_value(port);
      if (is_constant(source)) continue;
      const bool is_value = contains(found->second, port);
      apart[port] = std::make_shared<ov::op::v0::Parameter>(source.get_element_type(), source.get_partial_shape());
      // The guard hands on its first input: that must be one that the client chose.
      const bool first = chosen(port) && (told.empty() || !chosen(told.front().port));
      told.insert(first ? told.begin() : told.end(), {port, is_value});
      sources.insert(first ? sources.begin() : sources.end(), is_value ? source : shape_of(source));
    }
    if (told.empty() || !chosen(told.front().port)) return;
    if (type == "Range") return guard_range(node, most_bytes_);
    const size_t port = told.front().port;
    const std::shared_ptr<const ov::Node> operation = node->clone_with_new_inputs(apart);
    put_guard(node, port, {sources.begin() + 1, sources.end()},
              output_size(subject_of(node, port), operation, std::move(told), most_bytes_));
  }

  const std::shared_ptr<ov::Model> model_;
  const size_t most_bytes_;
  const Telling telling_;
  std::unordered_set<const ov::Node*> clients_;      // whose values are the client's
  std::unordered_set<const ov::Node*> free_shapes_;  // whose shapes the client's values choose
};

}  // namespace

std::shared_ptr<ov::op::v0::Parameter> add_guards(const std::shared_ptr<ov::Model>& model, size_t most_bytes,
                                                  const std::shared_ptr<Marks>& marks) {
  const auto nodes = model->get_ordered_ops();
  const bool indexes = std::any_of(nodes.begin(), nodes.end(), [](const NodePtr& node) {
    const std::string type = node->get_type_name();
    return (type.rfind("Gather", 0) == 0 || type.rfind("Scatter", 0) == 0) && node->get_input_size() > 1 &&
           !is_constant(node->input_value(1));
  });
  const auto place = indexes ? add_place(model) : nullptr;
  Guards(model, most_bytes, {place, marks}).add();
  return place;
}

}  // namespace trtserve::openvino
