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
#include <openvino/op/util/gather_base.hpp>
#include <openvino/op/util/gather_nd_base.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>
#include <openvino/op/util/shape_of_base.hpp>
#include <openvino/op/util/sub_graph_base.hpp>
#include <openvino/op/util/topk_base.hpp>

#include "backends/openvino/checks.h"
#include "backends/openvino/guarding.h"
#include "backends/openvino/scans.h"
#include "backends/openvino/sequences.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// True if constant indices are within the dimension for every nonempty request.
bool known_to_fit(const Port& indices, const ov::Dimension& dim) {
  if (!is_constant(indices)) return false;
  const auto values = ov::as_type_ptr<ov::op::v0::Constant>(indices.get_node_shared_ptr())->cast_vector<int64_t>();
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  return values.empty() || std::max(*most + 1, -*least) <= std::max<int64_t>(1, dim.get_min_length());
}

void guard_indices(const NodePtr& node, int64_t given_axis, const Guarding& guarding) {
  const size_t axis = along(node, 0, given_axis);
  const auto data = node->input_value(0);
  if (known_to_fit(node->input_value(1), data.get_partial_shape()[static_cast<std::ptrdiff_t>(axis)])) return;
  guarding.put(node, 1, {shape_of(data)}, indices_along(subject_of(node, 1), axis), 0);
}

int64_t constant_axis(const NodePtr& node, size_t port) {
  const auto axis = ov::as_type_ptr<ov::op::v0::Constant>(node->get_input_node_shared_ptr(port));
  if (!axis) {
    fail(Kind::Unsupported, "node '", node->get_friendly_name(), "' (", node->get_type_name(),
         ") reads its axis from a tensor: export the model with a constant axis");
  }
  return axis->cast_vector<int64_t>().at(0);
}

void guard_rows(const NodePtr& node, size_t batch_dims, const Guarding& guarding) {
  along(node, 0, 0);
  guarding.put(node, 1, {shape_of(node->input_value(0))}, index_rows(subject_of(node, 1), batch_dims), 0);
}

void guard_position(const NodePtr& node, const Guarding& guarding) {
  const auto size = ov::as_type_ptr<SequenceItem>(node)->size();
  auto subject = subject_of(node, 1);
  subject.operation = "SequenceAt";
  guarding.put(node, 0, {node->input_value(1)}, position_in(std::move(subject), size), 0);
  node->output(0).replace(node->input_value(0));
}

/// In ONNX, a range that steps away from its end is empty; OpenVINO makes as many steps as the distance is long.
void end_range(const NodePtr& node) {
  using namespace ov::op;
  // OpenVINO's own Range accepts mixed types; the comparison does not.
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

/// Instead of refused numbers, the node gets a range of one element: 0 to 1 by 1.
void guard_range(const NodePtr& node, size_t most_bytes, const Guarding& guarding) {
  const size_t most = most_bytes / std::max<size_t>(1, node->get_output_element_type(0).size());
  const auto subject = subject_of(node, 0);
  end_range(node);
  guarding.put(node, 0, {node->input_value(1), node->input_value(2)}, range_length(subject, most), 0);
  for (const size_t port : {1, 2}) guarding.put_with(node, port, 0, 1);
}

/// The ports of each operation's inputs that determine the size of its output.
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

/// Guards the nodes of one model, and tracks which values and shapes clients control.
class Guards {
 public:
  Guards(Guarding guarding, size_t most_bytes) : guarding_(std::move(guarding)), most_bytes_(most_bytes) {}

  void add() {
    const auto nodes = guarding_.model()->get_ordered_ops();
    for (const auto& node : nodes) note_origin(*node);
    for (const auto& node : nodes) {
      if (const auto parent = ov::as_type_ptr<ov::op::util::MultiSubGraphOp>(node)) {
        for (const auto& body : parent->get_functions()) {
          Guards within(guarding_.within(body), most_bytes_);
          within.add();
          if (const auto loop = ov::as_type_ptr<ov::op::util::SubGraphOp>(node)) within.guard_scanned(loop);
        }
      }
      guard(node);
    }
  }

  /// Guards the outputs that this body's loop joins from its iterations, unless all are known to have the same shape.
  void guard_scanned(const std::shared_ptr<ov::op::util::SubGraphOp>& loop) const {
    using Loop = ov::op::util::SubGraphOp;
    const auto& body = *guarding_.model();
    bool grows = false;  // an iteration may pass a different shape to the next
    for (const auto& input : loop->get_input_descriptions()) {
      if (!ov::as_type_ptr<Loop::MergedInputDescription>(input)) continue;
      grows |= body.get_parameters().at(input->m_body_parameter_index)->get_output_partial_shape(0).is_dynamic();
    }
    for (const auto& output : loop->get_output_descriptions()) {
      const auto scan = ov::as_type_ptr<Scan>(output);
      if (!scan) continue;
      const auto value = body.get_results().at(scan->m_body_value_index)->input_value(0);
      const bool varies = grows || free_shapes_.count(value.get_node()) > 0;
      if (varies && value.get_partial_shape().is_dynamic()) guard_scan(loop, *scan);
    }
  }

 private:
  /// Values that depend on the inputs' values, not only on their shapes, are under the client's control. So are the
  /// shapes that such values determine, and the values that depend on these shapes.
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
    if (free_shape || (clients && shape_depends_on_values(node))) free_shapes_.insert(&node);
  }

  /// True if the values of the node's inputs determine the shape of its output; for most operations, only their shapes
  /// do.
  bool shape_depends_on_values(const ov::Node& node) const {
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
    static const std::map<std::string, std::function<void(const NodePtr&, const Guarding&)>> index_rules = {
        {"Gather",
         [](const NodePtr& n, const Guarding& g) {
           guard_indices(n, ov::as_type_ptr<ov::op::util::GatherBase>(n)->get_axis(), g);
         }},
        {"GatherElements",
         [](const NodePtr& n, const Guarding& g) {
           guard_indices(n, ov::as_type_ptr<ov::op::v6::GatherElements>(n)->get_axis(), g);
         }},
        {"GatherND",
         [](const NodePtr& n, const Guarding& g) {
           guard_rows(n, ov::as_type_ptr<ov::op::util::GatherNDBase>(n)->get_batch_dims(), g);
         }},
        {"ScatterElementsUpdate",
         [](const NodePtr& n, const Guarding& g) { guard_indices(n, constant_axis(n, 3), g); }},
        {"ScatterUpdate", [](const NodePtr& n, const Guarding& g) { guard_indices(n, constant_axis(n, 3), g); }},
        {"SequenceItem", guard_position},
        {"ScatterNDUpdate", [](const NodePtr& n, const Guarding& g) { guard_rows(n, 0, g); }},
    };
    const std::string type = node->get_type_name();
    if (const auto rule = index_rules.find(type); rule != index_rules.end()) rule->second(node, guarding_);
    guard_lengths(node, type);
    if (type != "TopK") guard_size(node, type);  // its output is no larger than its input
  }

  void guard_lengths(const NodePtr& node, const std::string& type) {
    const auto guard = [&](size_t port, size_t axis, int64_t least, int64_t more) {
      if (!is_clients(node->input_value(port))) return;
      guarding_.put(node, port, {shape_of(node->input_value(0))}, up_to_size(subject_of(node, port), least, axis, more),
                    0);
    };
    if (type == "LSTMSequence") guard(3, 1, 0, 0);
    if (type == "GRUSequence" || type == "RNNSequence") guard(2, 1, 0, 0);
    if (type == "ReverseSequence") {
      guard(1, along(node, 0, ov::as_type_ptr<ov::op::v0::ReverseSequence>(node)->get_origin_sequence_axis()), 0, 0);
    }
    if (type == "ROIAlign") guard(2, 0, 0, -1);
    if (type == "TopK") {
      // OpenVINO makes as many as requested, even if there are fewer.
      const auto axis = along(node, 0, static_cast<int64_t>(ov::as_type_ptr<ov::op::util::TopKBase>(node)->get_axis()));
      const auto k = ov::as_type_ptr<ov::op::v0::Constant>(node->get_input_node_shared_ptr(1));
      const auto size = node->get_input_partial_shape(0)[static_cast<std::ptrdiff_t>(axis)];
      if (k && k->cast_vector<int64_t>().at(0) <= size.get_min_length()) return;
      // The guard skips empty data, so 1 is never too many.
      guarding_.put(node, 1, {shape_of(node->input_value(0))}, up_to_size(subject_of(node, 1), 0, axis, 0), 1);
    }
    if (type == "Slice" && node->get_input_size() > 3 && is_clients(node->input_value(3))) {
      guarding_.put(node, 3, {}, no_zero(subject_of(node, 3)), 1);
    }
    const auto rank = type == "Slice" ? node->get_input_partial_shape(0).rank() : ov::Rank::dynamic();
    if (rank.is_static() && node->get_input_size() > 4 && is_clients(node->input_value(4))) {
      guarding_.put(node, 4, {}, within(subject_of(node, 4), -rank.get_length(), rank.get_length() - 1), 0);
    }
    const bool divides = type == "Divide" || type == "Mod" || type == "FloorMod";
    // This includes values from shapes: a dimension may be 0.
    if (divides && node->get_input_element_type(1).is_integral_number() && !is_constant(node->input_value(1))) {
      guarding_.put(node, 1, {}, no_zero(subject_of(node, 1)), 1);
    }
  }

  void guard_size(const NodePtr& node, const std::string& type) {
    const auto found = size_ports().find(type);
    if (found == size_ports().end()) return;
    const auto chosen = [&](size_t port) {
      return contains(found->second, port) && is_clients(node->input_value(port));
    };
    std::vector<OperationInput> checked;
    ov::OutputVector sources;
    auto apart = node->input_values();
    for (size_t port = 0; port < node->get_input_size(); ++port) {
      const auto source = node->input_value(port);
      if (is_constant(source)) continue;
      const bool is_value = contains(found->second, port);
      apart[port] = std::make_shared<ov::op::v0::Parameter>(source.get_element_type(), source.get_partial_shape());
      // The guard passes on its first input, which must be one that the client controls.
      const bool first = chosen(port) && (checked.empty() || !chosen(checked.front().port));
      checked.insert(first ? checked.begin() : checked.end(), {port, is_value});
      sources.insert(first ? sources.begin() : sources.end(), is_value ? source : shape_of(source));
    }
    if (checked.empty() || !chosen(checked.front().port)) return;
    if (type == "Range") return guard_range(node, most_bytes_, guarding_);
    const size_t port = checked.front().port;
    const std::shared_ptr<const ov::Node> operation = node->clone_with_new_inputs(apart);
    const int harmless = type == "Pad" ? 0 : 1;
    guarding_.put(node, port, {sources.begin() + 1, sources.end()},
                  output_size(subject_of(node, port), operation, std::move(checked), most_bytes_), harmless);
    for (const size_t other : found->second) {
      if (other != port && other < node->get_input_size() && chosen(other)) {
        guarding_.put_with(node, other, port, harmless);
      }
    }
  }

  const Guarding guarding_;
  const size_t most_bytes_;
  std::unordered_set<const ov::Node*> clients_;      // nodes whose values the client controls
  std::unordered_set<const ov::Node*> free_shapes_;  // nodes whose shapes depend on the client's values
};

}  // namespace

void add_guards(const std::shared_ptr<ov::Model>& model, size_t most_bytes, Places& places,
                const std::shared_ptr<Marks>& marks) {
  Guards(Guarding(model, places, marks), most_bytes).add();
}

}  // namespace trtserve::openvino
