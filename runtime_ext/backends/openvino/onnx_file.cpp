#include "backends/openvino/onnx_file.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "backends/openvino/onnx_fields.h"
#include "backends/openvino/onnx_graph.h"
#include "backends/openvino/onnx_messages.h"
#include "backends/openvino/onnx_tensors.h"
#include "backends/openvino/onnx_versions.h"
#include "backends/openvino/shown.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "core/protobuf.h"

namespace trtserve::openvino {

namespace {

/// protobuf limits a message to 31 bits of length.
constexpr size_t kMostBytes = std::numeric_limits<int32_t>::max();

constexpr uint64_t kMostElements = uint64_t{1} << 31;

/// The number in TensorProto.DataType.
constexpr int32_t kComplex64 = 14;
constexpr int32_t kComplex128 = 15;
constexpr int32_t kNewestType = 28;

/// The parts of the file's ModelProto that this reader uses.
struct Model {
  int64_t ir_version = 0;
  std::vector<std::string_view> opset_imports;
  std::optional<std::string_view> graph;
};

Model read_model(std::string_view file) {
  Model model;
  for (Fields fields(file); fields.next();) {
    const auto& field = fields.field();
    if (field.number == model_field::kIrVersion) model.ir_version = static_cast<int64_t>(field.value);
    if (field.number == model_field::kGraph) model.graph = field.bytes;
    if (field.number == model_field::kOpsetImport) model.opset_imports.push_back(field.bytes);
  }
  return model;
}

void add_dimension(DeclaredTensor& tensor, std::string_view dimension) {
  int64_t size = -1;
  std::string symbol;
  for (Fields fields(dimension); fields.next();) {
    const auto& field = fields.field();
    if (field.number == dimension_field::kValue) size = static_cast<int64_t>(field.value);
    if (field.number == dimension_field::kSymbol) symbol = field.bytes;
  }
  // Some exporters write a dynamic dimension as a negative one.
  tensor.shape->push_back(std::max<int64_t>(size, -1));
  tensor.symbols.push_back(std::move(symbol));
}

void add_tensor_type(DeclaredTensor& tensor, std::string_view type) {
  for (Fields fields(type); fields.next();) {
    const auto& field = fields.field();
    if (field.number == tensor_type_field::kElementType) tensor.elem_type = static_cast<int32_t>(field.value);
    if (field.number != tensor_type_field::kShape) continue;
    tensor.shape.emplace();
    for (Fields dims(field.bytes); dims.next();) add_dimension(tensor, dims.field().bytes);
  }
}

/// Refuses a tensor whose type neither a request nor OpenVINO can use.
void check_type(const DeclaredTensor& tensor, const char* role) {
  const bool complex = tensor.elem_type == kComplex64 || tensor.elem_type == kComplex128;
  if (complex || tensor.elem_type < 0 || tensor.elem_type > kNewestType) {
    fail(Kind::Unsupported, "the ", role, " '", shown(tensor.name), "' of the ONNX file is of ",
         complex ? "a complex type" : c10::str("the data type ", tensor.elem_type),
         ", which no request can carry: export the model with another type there");
  }
}

/// Refuses sizes whose product overflows 64 bits: OpenVINO would see a small number.
void check_size(const DeclaredTensor& tensor, const char* role) {
  uint64_t elements = 1;
  for (const int64_t dim : tensor.shape.value_or(std::vector<int64_t>{})) {
    const auto size = static_cast<uint64_t>(std::max<int64_t>(dim, 1));
    if (size <= kMostElements && elements * size <= kMostElements) {
      elements *= size;
      continue;
    }
    fail(Kind::InvalidInput, "the ", role, " '", shown(tensor.name), "' of the ONNX file has more than ", kMostElements,
         " elements, more than a request can have");
  }
}

DeclaredTensor read_declared(std::string_view value_info, const char* role) {
  DeclaredTensor tensor;
  tensor.name = bytes_of(value_info, value_info_field::kName);
  if (tensor.name.empty())
    fail(Kind::InvalidInput, "an ", role, " of the ONNX file's graph has no name: export it again");
  if (!is_text(tensor.name)) {
    fail(Kind::InvalidInput, "the name of the ", role, " '", shown(tensor.name), "' is not UTF-8: rename it");
  }
  for (Fields fields(bytes_of(value_info, value_info_field::kType)); fields.next();) {
    const auto& field = fields.field();
    if (field.number == type_field::kDenotation) continue;
    if (field.number != type_field::kTensor) {
      fail(Kind::Unsupported, "the ", role, " '", shown(tensor.name),
           "' of the ONNX file is a sequence, a map, an optional or a sparse tensor, which no request can carry: "
           "export the model with dense tensors instead");
    }
    add_tensor_type(tensor, field.bytes);
  }
  check_type(tensor, role);
  check_size(tensor, role);
  return tensor;
}

void check_input(const DeclaredTensor& input) {
  if (input.elem_type == 0) {
    fail(Kind::InvalidInput, "the input '", shown(input.name), "' of the ONNX file has no data type: export it again");
  }
  if (!input.shape) {
    fail(Kind::InvalidInput, "the input '", shown(input.name),
         "' of the ONNX file has no shape, and OpenVINO cannot run with a dynamic rank: export it with a shape, with "
         "dynamic dimensions where sizes change");
  }
}

/// The names of a graph's initializers.
std::unordered_set<std::string_view> initializers(std::string_view graph) {
  std::unordered_set<std::string_view> names;
  for (Fields fields(graph); fields.next();) {
    const auto& field = fields.field();
    if (field.number == graph_field::kInitializer) names.insert(bytes_of(field.bytes, tensor_field::kName));
  }
  return names;
}

void check_names(const std::vector<DeclaredTensor>& tensors, const char* role) {
  std::unordered_set<std::string_view> names;
  for (const auto& tensor : tensors) {
    if (names.insert(tensor.name).second) continue;
    fail(Kind::InvalidInput, "the ONNX file declares the ", role, " '", shown(tensor.name), "' twice: export it again");
  }
}

void read_graph(std::string_view graph, OnnxFile& file) {
  const auto given = initializers(graph);
  for (Fields fields(graph); fields.next();) {
    const auto& field = fields.field();
    if (field.number == graph_field::kInput && given.count(bytes_of(field.bytes, value_info_field::kName)) == 0) {
      file.inputs.push_back(read_declared(field.bytes, "input"));
      check_input(file.inputs.back());
    }
    if (field.number == graph_field::kOutput) {
      file.outputs.push_back(read_declared(field.bytes, "output"));
    }
  }
  check_names(file.inputs, "input");
  check_names(file.outputs, "output");
  if (file.outputs.empty()) {
    fail(Kind::InvalidInput,
         "the graph of the ONNX file has no outputs: it is cut off or damaged. Fetch or export it again");
  }
}

}  // namespace

OnnxFile read_onnx_file(const std::string& path) { return read_onnx_bytes(MappedFile(path).bytes()); }

OnnxFile read_onnx_bytes(std::string_view bytes) {
  if (bytes.empty()) fail(Kind::InvalidInput, "the plan is empty");
  if (bytes.size() > kMostBytes) {
    fail(Kind::InvalidInput, "the ONNX file has ", bytes.size(), " bytes, but protobuf reads at most ", kMostBytes,
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
         "the ONNX file is cut off: it has no graph. Its download or copy probably did not finish: fetch or export it "
         "again");
  }
  read_graph(*model.graph, file);
  check_graph(bytes, file.opsets, file.ir_version);
  return file;
}

}  // namespace trtserve::openvino
