#include "backends/openvino/constants.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>

#include <openvino/op/constant.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>

#include "core/error.h"

namespace trtserve::openvino {

namespace {

using ov::op::util::MultiSubGraphOp;
using ov::op::v0::Constant;

/// The most elements of a folded constant; constants with out-of-range numbers are smaller.
constexpr size_t kFolded = 1 << 20;

/// On which sides a constant exceeds the range of the datatype in which OpenVINO computes.
struct Excess {
  bool above = false;
  bool below = false;
  std::string example;  // one of the values

  bool any() const { return above || below; }
};

template <typename T, typename Computed>
Excess excess_of(const Constant& constant) {
  Excess excess;
  const T* const values = constant.get_data_ptr<T>();
  const auto greatest = static_cast<T>(std::numeric_limits<Computed>::max());
  const auto least = std::is_signed_v<T> ? static_cast<T>(std::numeric_limits<Computed>::lowest()) : T{0};
  for (size_t i = 0; i < ov::shape_size(constant.get_shape()); ++i) {
    const bool above = values[i] > greatest;
    const bool below = values[i] < least;
    if ((above || below) && !excess.any()) excess.example = c10::str(values[i]);
    excess.above |= above;
    excess.below |= below;
  }
  return excess;
}

Excess excess_of(const Constant& constant) {
  const auto& type = constant.get_element_type();
  if (type == ov::element::i64) return excess_of<int64_t, int32_t>(constant);
  if (type == ov::element::u64) return excess_of<uint64_t, int32_t>(constant);
  if (type == ov::element::u32) return excess_of<uint32_t, int32_t>(constant);
  if (type == ov::element::f64) return excess_of<double, float>(constant);
  return {};
}

using Target = ov::Input<ov::Node>;
using Names = std::set<std::string_view>;  // of operators of any version

bool is_one_of(const Names& names, const Target& target) {
  return names.count(target.get_node()->get_type_info().name) != 0;
}

/// True if the node uses the value at this input as a bound: the nearest value that fits gives the same result.
bool is_bound(const Target& target, const Excess& excess) {
  static const Names kSlices = {"Slice", "StridedSlice"};
  const size_t index = target.get_index();
  if (is_one_of(kSlices, target)) return index > 0;
  if (is_one_of({"Minimum"}, target)) return !excess.below;
  if (is_one_of({"Maximum"}, target)) return !excess.above;
  if (is_one_of({"Loop"}, target) && index == 0) return !excess.below;               // trips
  if (is_one_of({"NonMaxSuppression"}, target) && index == 2) return !excess.below;  // the most boxes per class
  return false;
}

/// True if the node's result does not depend on how far from zero the value is.
bool ignores_size(const Target& target) {
  if (is_one_of({"Convert"}, target)) return target.get_node()->get_output_element_type(0) == ov::element::boolean;
  return is_one_of({"ShapeOf"}, target);
}

/// True if the node passes the values at this input on unchanged.
bool passes_on(const Target& target) {
  static const Names kOfFirst = {"Reshape", "Squeeze",      "Unsqueeze", "Broadcast", "Transpose",     "Gather",
                                 "Slice",   "StridedSlice", "Tile",      "Split",     "VariadicSplit", "Identity"};
  if (is_one_of({"Concat"}, target)) return true;
  if (is_one_of({"Select"}, target)) return target.get_index() > 0;
  return is_one_of(kOfFirst, target) && target.get_index() == 0;
}

/// A constant, its values that do not fit, and the node inputs already visited.
struct Search {
  const Constant& constant;
  Excess excess;
  std::set<std::pair<const ov::Node*, size_t>> seen;
};

/// Follows a model's constants to the nodes that use them. Not thread safe: it may change the model.
class ConstantCheck {
 public:
  void check(ov::Model& model) {
    for (const auto& node : model.get_ordered_ops()) {
      if (const auto constant = ov::as_type_ptr<Constant>(node)) check(constant);
      if (const auto parent = ov::as_type_ptr<MultiSubGraphOp>(node)) {
        for (const auto& body : parent->get_functions()) check(*body);
      }
    }
  }

 private:
  void check(const std::shared_ptr<Constant>& constant) {
    Search search{*constant, excess_of(*constant), {}};
    if (search.excess.any()) follow(constant->output(0), search);
  }

  void follow(const ov::Output<ov::Node>& value, Search& search) {
    for (const auto& target : value.get_target_inputs()) {
      if (!search.seen.emplace(target.get_node(), target.get_index()).second) continue;
      if (is_bound(target, search.excess) || ignores_size(target) || fold(target)) continue;
      if (passes_on(target)) {
        for (const auto& output : target.get_node()->outputs()) follow(output, search);
      } else if (const auto* parent = dynamic_cast<const MultiSubGraphOp*>(target.get_node())) {
        follow_into(*parent, target.get_index(), search);
      } else {
        refuse(*target.get_node(), search);
      }
    }
  }

  void follow_into(const MultiSubGraphOp& parent, size_t input, Search& search) {
    for (size_t body = 0; body < parent.get_internal_subgraphs_size(); ++body) {
      const auto& parameters = parent.get_function(body)->get_parameters();
      for (const auto& description : parent.get_input_descriptions(static_cast<int>(body))) {
        if (description->m_input_index != input) continue;
        follow(parameters.at(description->m_body_parameter_index)->output(0), search);
      }
    }
  }

  /// Computes a node whose inputs are all constants, in its own datatypes, and checks the result.
  bool fold(const Target& target) {
    const auto node = target.get_node()->shared_from_this();
    const auto inputs = node->input_values();
    const bool constant = std::all_of(inputs.begin(), inputs.end(), [](const ov::Output<ov::Node>& input) {
      return ov::is_type<Constant>(input.get_node());
    });
    ov::OutputVector folded(node->get_output_size());
    if (!constant || is_large(*node) || !node->constant_fold(folded, inputs)) return false;
    for (size_t i = 0; i < folded.size(); ++i) {
      const auto made = ov::as_type_ptr<Constant>(folded[i].get_node_shared_ptr());
      if (!made) return false;
      made->set_friendly_name(node->get_friendly_name());
      node->output(i).replace(made->output(0));
      check(made);
    }
    return true;
  }

  static bool is_large(const ov::Node& node) {
    const auto outputs = node.outputs();
    return std::any_of(outputs.begin(), outputs.end(), [](const ov::Output<const ov::Node>& output) {
      return output.get_partial_shape().is_dynamic() || ov::shape_size(output.get_shape()) > kFolded;
    });
  }

  [[noreturn]] static void refuse(const ov::Node& node, const Search& search) {
    const auto& type = search.constant.get_element_type();
    fail(Kind::Unsupported, "the constant '", search.constant.get_friendly_name(), "' has the value ",
         search.excess.example, ", and node '", node.get_friendly_name(), "' (", node.get_type_name(),
         ") computes with it: the openvino backend computes with ", type.to_string(), " as ",
         type.is_real() ? "f32, which holds finite numbers from -3.4028235e+38 to 3.4028235e+38"
                        : "i32, which holds numbers from -2147483648 to 2147483647",
         ". Export the model with smaller numbers, or with floating-point numbers");
  }
};

}  // namespace

void check_constants(ov::Model& model) { ConstantCheck().check(model); }

}  // namespace trtserve::openvino
