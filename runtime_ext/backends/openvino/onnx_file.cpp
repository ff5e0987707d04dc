#include "backends/openvino/onnx_file.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "backends/openvino/mapped_file.h"
#include "backends/openvino/onnx_messages.h"
#include "backends/openvino/onnx_tensors.h"
#include "backends/openvino/onnx_versions.h"
#include "backends/openvino/protobuf.h"
#include "backends/openvino/shown.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// protobuf counts bytes with 31 bits.
constexpr size_t kMostBytes = std::numeric_limits<int32_t>::max();

/// What read_declared() takes from the file's top message.
struct Model {
  int64_t ir_version = 0;
  std::vector<std::string_view> opset_imports;
  std::optional<std::string_view> graph;
};

Model read_model(std::string_view file) {
  Model model;
  for (Fields fields(file); fields.next();) {
    const auto& field = fields.field();
    if (field.number == 1) model.ir_version = static_cast<int64_t>(field.value);
    if (field.number == 7) model.graph = field.bytes;
    if (field.number == 8) model.opset_imports.push_back(field.bytes);
  }
  return model;
}

std::string_view bytes_of(std::string_view message, uint32_t number) {
  for (Fields fields(message); fields.next();) {
    if (fields.field().number == number) return fields.field().bytes;
  }
  return {};
}

void add_dimension(DeclaredTensor& tensor, std::string_view dimension) {
  int64_t size = -1;
  std::string symbol;
  for (Fields fields(dimension); fields.next();) {
    if (fields.field().number == 1) size = static_cast<int64_t>(fields.field().value);
    if (fields.field().number == 2) symbol = fields.field().bytes;
  }
  // Some exporters write a dynamic dimension as a negative one.
  tensor.shape->push_back(std::max<int64_t>(size, -1));
  tensor.symbols.push_back(std::move(symbol));
}

DeclaredTensor read_declared(std::string_view value_info, const char* role) {
  DeclaredTensor tensor;
  tensor.name = bytes_of(value_info, 1);
  if (tensor.name.empty()) fail(Kind::InvalidInput, "the ONNX file is damaged: an ", role, " of its graph has no name");
  if (!is_text(tensor.name)) {
    fail(Kind::InvalidInput, "the name of the ", role, " '", shown(tensor.name), "' is not UTF-8");
  }
  const auto tensor_type = bytes_of(bytes_of(value_info, 2), 1);
  for (Fields fields(tensor_type); fields.next();) {
    const auto& field = fields.field();
    if (field.number == 1) tensor.elem_type = static_cast<int32_t>(field.value);
    if (field.number != 2) continue;
    tensor.shape.emplace();
    for (Fields dims(field.bytes); dims.next();) add_dimension(tensor, dims.field().bytes);
  }
  return tensor;
}

/// The names that initializers of a graph have.
std::unordered_set<std::string_view> initializers(std::string_view graph) {
  std::unordered_set<std::string_view> names;
  for (Fields fields(graph); fields.next();) {
    const auto& field = fields.field();
    if (field.number == 5) names.insert(bytes_of(field.bytes, 8));
    if (field.number == 15) names.insert(bytes_of(bytes_of(field.bytes, 1), 8));
  }
  return names;
}

void read_graph(std::string_view graph, OnnxFile& file) {
  const auto given = initializers(graph);
  std::unordered_set<std::string_view> names;
  for (Fields fields(graph); fields.next();) {
    const auto& field = fields.field();
    if (field.number == 11 && given.count(bytes_of(field.bytes, 1)) == 0) {
      file.inputs.push_back(read_declared(field.bytes, "input"));
      if (!names.insert(bytes_of(field.bytes, 1)).second) {
        fail(Kind::InvalidInput, "the ONNX file declares the input '", shown(file.inputs.back().name), "' twice");
      }
    }
    if (field.number == 12) file.outputs.push_back(read_declared(field.bytes, "output"));
  }
}

}  // namespace

OnnxFile read_onnx_file(const std::string& path) {
  const MappedFile mapped(path);
  const auto bytes = mapped.bytes();
  if (bytes.empty()) fail(Kind::InvalidInput, "the plan is empty");
  if (bytes.size() > kMostBytes) {
    fail(Kind::InvalidInput, "the ONNX file has ", bytes.size(), " bytes, and protobuf reads no more than ", kMostBytes,
         ": compile the model with OpenVINO and upload the exported blob");
  }
  const Model model = read_model(bytes);
  OnnxFile file;
  file.ir_version = check_ir_version(model.ir_version);
  file.opsets = read_opsets(model.opset_imports, file.ir_version);
  TensorCheck tensors;
  check_messages(bytes, tensors);
  if (!model.graph) {
    fail(Kind::InvalidInput,
         "the ONNX file is cut off: it has no graph. Its download or copy did not come to an end, "
         "it seems: fetch or export it again");
  }
  read_graph(*model.graph, file);
  return file;
}

}  // namespace trtserve::openvino
