#include "backends/openvino/shape_model.h"

#include <algorithm>
#include <array>

#include <c10/util/StringUtil.h>
#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>

#include "backends/openvino/failure.h"
#include "core/tensor_spec.h"

namespace trtserve::openvino {

namespace {

/// Larger constants are weights; smaller ones may be shapes, which are needed.
constexpr size_t kFewElements = 1024;

constexpr size_t kShapesKept = 4096;

/// Operations that OpenVINO runs on empty tensors as ONNX defines, or whose output does not depend on the empty one.
constexpr std::array<std::string_view, 9> kTakeEmpty = {"Concat",   "ShapeOf",   "Reshape", "Squeeze", "Unsqueeze",
                                                        "Constant", "Parameter", "Result",  "Pad"};

/// Operations that OpenVINO cannot run on an empty tensor at all: it divides by the number of iterations.
constexpr std::array<std::string_view, 4> kIterate = {"TensorIterator", "LSTMSequence", "GRUSequence", "RNNSequence"};

std::shared_ptr<ov::Model> without_weights(const ov::Model& model) {
  auto light = model.clone();
  for (const auto& node : light->get_ordered_ops()) {
    const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node);
    if (!constant || ov::shape_size(constant->get_shape()) <= kFewElements) continue;
    const auto stand_in =
        std::make_shared<ov::op::v0::Parameter>(constant->get_element_type(), constant->get_output_partial_shape(0));
    constant->output(0).replace(stand_in->output(0));
    light->add_parameters({stand_in});
  }
  return light;
}

bool is_empty(const ov::PartialShape& shape) {
  return shape.rank().is_static() &&
         std::any_of(shape.begin(), shape.end(), [](const auto& dim) { return dim.get_max_length() == 0; });
}

bool has_elements(const ov::PartialShape& shape) {
  return shape.rank().is_static() &&
         std::all_of(shape.begin(), shape.end(), [](const auto& dim) { return dim.get_min_length() > 0; });
}

/// True if an input is empty. Empty constants do not count: they are part of the model, such as an empty list of axes.
bool has_empty_input(const ov::Node& node) {
  const auto inputs = node.input_values();
  return std::any_of(inputs.begin(), inputs.end(), [](const auto& input) {
    return is_empty(input.get_partial_shape()) && !ov::is_type<ov::op::v0::Constant>(input.get_node());
  });
}

ov::PartialShape to_partial(const std::optional<std::vector<int64_t>>& shape) {
  if (!shape) return ov::PartialShape::dynamic();
  return {std::vector<ov::Dimension>(shape->begin(), shape->end())};
}

std::optional<std::vector<int64_t>> from_partial(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return std::nullopt;
  std::vector<int64_t> dims;
  for (const auto& dim : shape) dims.push_back(dim.is_dynamic() ? -1 : dim.get_length());
  return dims;
}

}  // namespace

ShapeModel::ShapeModel(const std::shared_ptr<const ov::Model>& model)
    : dynamic_(model->is_dynamic()), model_(without_weights(*model)) {}

std::string ShapeModel::objection(const std::vector<ov::Shape>& shapes) const {
  const std::lock_guard lock(mutex_);
  if (good_.count(shapes) > 0) return "";
  try {
    reshape({shapes.begin(), shapes.end()});
  } catch (const std::exception& error) {
    return core_of(error);
  }
  auto objection = objection_of_nodes();
  if (objection.empty()) {
    if (good_.size() >= kShapesKept) good_.clear();
    good_.insert(shapes);
  }
  return objection;
}

std::optional<BackendEngine::Shapes> ShapeModel::output_shapes(const BackendEngine::Shapes& inputs) const {
  const std::lock_guard lock(mutex_);
  std::vector<ov::PartialShape> shapes;
  for (const auto& input : inputs) shapes.push_back(to_partial(input));
  try {
    reshape(shapes);
  } catch (const std::exception&) {
    return std::nullopt;  // the first batch finds shapes that the model does not accept
  }
  BackendEngine::Shapes outputs;
  for (const auto& output : model_->outputs()) outputs.push_back(from_partial(output.get_partial_shape()));
  return outputs;
}

void ShapeModel::reshape(const std::vector<ov::PartialShape>& inputs) const {
  std::map<ov::Output<ov::Node>, ov::PartialShape> wanted;
  for (size_t i = 0; i < inputs.size(); ++i) wanted[model_->get_parameters().at(i)->output(0)] = inputs[i];
  model_->reshape(wanted);
}

std::string ShapeModel::objection_of_nodes() const {
  for (const auto& node : model_->get_ordered_ops()) {
    const std::string_view type = node->get_type_name();
    if (std::find(kTakeEmpty.begin(), kTakeEmpty.end(), type) != kTakeEmpty.end() || !has_empty_input(*node)) continue;
    if (std::find(kIterate.begin(), kIterate.end(), type) != kIterate.end()) {
      return c10::str("node '", node->get_friendly_name(), "' (", type, ") cannot run on an empty tensor");
    }
    for (const auto& output : node->outputs()) {
      if (!has_elements(output.get_partial_shape())) continue;
      return c10::str("node '", node->get_friendly_name(), "' (", type, ") would have to compute an output of shape ",
                      output.get_partial_shape(), " from an empty tensor");
    }
  }
  return "";
}

}  // namespace trtserve::openvino
