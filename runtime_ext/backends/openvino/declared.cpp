#include "backends/openvino/declared.h"

#include <algorithm>
#include <array>
#include <utility>

#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>

#include "core/error.h"
#include "core/tensor_spec.h"

namespace trtserve::openvino {

namespace {

/// The element types of onnx.proto3 (TensorProto.DataType) that OpenVINO supports, as OpenVINO's types.
const std::array<std::pair<int32_t, ov::element::Type>, 14> kElementTypes = {{
    {1, ov::element::f32},
    {2, ov::element::u8},
    {3, ov::element::i8},
    {4, ov::element::u16},
    {5, ov::element::i16},
    {6, ov::element::i32},
    {7, ov::element::i64},
    {8, ov::element::string},
    {9, ov::element::boolean},
    {10, ov::element::f16},
    {11, ov::element::f64},
    {12, ov::element::u32},
    {13, ov::element::u64},
    {16, ov::element::bf16},
}};

/// Dynamic if the file declares none, or one that is refused elsewhere.
ov::element::Type type_of(int32_t declared) {
  const auto* found = std::find_if(kElementTypes.begin(), kElementTypes.end(),
                                   [&](const auto& pair) { return pair.first == declared; });
  return found == kElementTypes.end() ? ov::element::dynamic : found->second;
}

bool same_type(const ov::element::Type& declared, const ov::element::Type& made) {
  return declared == ov::element::dynamic || declared == made;
}

bool same_shape(const std::optional<std::vector<int64_t>>& declared, const ov::PartialShape& made) {
  if (!declared || made.rank().is_dynamic()) return true;
  if (declared->size() != made.size()) return false;
  return std::equal(made.begin(), made.end(), declared->begin(), [](const ov::Dimension& dim, int64_t said) {
    return said < 0 || dim.is_dynamic() || dim.get_length() == said;
  });
}

std::string described(const ov::element::Type& type, const std::vector<int64_t>& shape) {
  return c10::str(type.to_string(), " ", format_shape(shape));
}

std::string described(const DeclaredTensor& tensor) {
  const auto declared = type_of(tensor.elem_type);
  return tensor.shape ? described(declared, *tensor.shape) : declared.to_string();
}

std::string described(const ov::Output<const ov::Node>& port) {
  std::vector<int64_t> shape;
  if (port.get_partial_shape().rank().is_static()) {
    for (const auto& dim : port.get_partial_shape()) shape.push_back(dim.is_static() ? dim.get_length() : -1);
  }
  return described(port.get_element_type(), shape);
}

void check(const char* role, const std::vector<DeclaredTensor>& declared,
           const std::vector<ov::Output<const ov::Node>>& made) {
  if (declared.size() != made.size()) {
    fail(Kind::InvalidInput, "the file declares ", declared.size(), " ", role, "s, but OpenVINO finds ", made.size(),
         ": export the model again without optional inputs and outputs");
  }
  for (size_t i = 0; i < declared.size(); ++i) {
    if (same_type(type_of(declared[i].elem_type), made[i].get_element_type()) &&
        same_shape(declared[i].shape, made[i].get_partial_shape())) {
      continue;
    }
    fail(Kind::InvalidInput, role, " '", declared[i].name, "' is ", described(declared[i]),
         " in the file's declaration, but ", described(made[i]),
         " as OpenVINO reads the graph: either the declaration is wrong, or OpenVINO interprets a node before it "
         "differently from ONNX. Export the model again, if necessary with another opset version");
  }
}

bool is_empty(const DeclaredTensor& tensor) {
  return tensor.shape && std::find(tensor.shape->begin(), tensor.shape->end(), 0) != tensor.shape->end();
}

}  // namespace

std::shared_ptr<ov::Model> with_empty_inputs(const std::shared_ptr<ov::Model>& model, const OnnxFile& file) {
  const auto& made = model->get_parameters();
  const auto empty = std::count_if(file.inputs.begin(), file.inputs.end(), is_empty);
  if (empty == 0 || made.size() + static_cast<size_t>(empty) != file.inputs.size()) return model;
  ov::ParameterVector parameters;
  auto next = made.begin();
  for (const auto& declared : file.inputs) {
    if (is_empty(declared)) {
      const ov::PartialShape shape(std::vector<ov::Dimension>(declared.shape->begin(), declared.shape->end()));
      parameters.push_back(std::make_shared<ov::op::v0::Parameter>(type_of(declared.elem_type), shape));
      parameters.back()->set_friendly_name(declared.name);
    } else {
      parameters.push_back(*next++);
    }
  }
  return std::make_shared<ov::Model>(model->get_results(), model->get_sinks(), parameters, model->get_friendly_name());
}

void fill_empty_outputs(const std::shared_ptr<ov::Model>& model, const OnnxFile& file) {
  if (file.outputs.size() != model->get_results().size()) return;
  for (size_t i = 0; i < file.outputs.size(); ++i) {
    const auto& declared = file.outputs[i];
    const auto source = model->get_results()[i]->input_value(0);
    if (!is_empty(declared) || source.get_partial_shape() != ov::PartialShape{}) continue;
    const auto& dims = *declared.shape;
    const bool known = std::all_of(dims.begin(), dims.end(), [](int64_t dim) { return dim >= 0; });
    if (!known || !ov::is_type<ov::op::v0::Constant>(source.get_node())) {
      fail(Kind::Unsupported, "output '", declared.name, "' is ", described(declared),
           " in the file's declaration, and is computed from a tensor without elements, which OpenVINO cannot do: "
           "export the model without it");
    }
    const auto empty =
        std::make_shared<ov::op::v0::Constant>(source.get_element_type(), ov::Shape(dims.begin(), dims.end()));
    model->get_results()[i]->input(0).replace_source_output(empty);
    model->get_results()[i]->validate_and_infer_types();
  }
}

void check_declared(const ov::Model& model, const OnnxFile& file) {
  check("input", file.inputs, model.inputs());
  check("output", file.outputs, model.outputs());
}

}  // namespace trtserve::openvino
