#include "backends/openvino/onnx_graph.h"

#include <set>
#include <unordered_set>
#include <utility>

#include "backends/openvino/onnx_fields.h"
#include "backends/openvino/onnx_node.h"
#include "backends/openvino/shown.h"
#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve::openvino {

namespace {

constexpr int64_t kFirstIrVersionWithOpsets = 3;
constexpr const char* kExportAgain = "the file is cut off or damaged. Fetch or export it again";

/// The names that one graph defines, and the scope of the graph around it.
struct Scope {
  const Scope* outer = nullptr;
  std::unordered_set<std::string_view> names = {};

  bool has(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
      if (scope->names.count(name) != 0) return true;
    }
    return false;
  }
};

using Function = std::pair<std::string_view, std::string_view>;  // domain and name

class GraphCheck {
 public:
  GraphCheck(std::set<Function> functions, const Opsets& opsets, int64_t ir_version)
      : functions_(std::move(functions)), opsets_(opsets), ir_version_(ir_version) {}

  void check(std::string_view graph, const Scope* outer) const {
    Scope scope{.outer = outer};
    add_given(graph, scope);
    for (Fields fields(graph); fields.next();) {
      if (fields.field().number == graph_field::kNode) check_node(fields.field().bytes, scope);
    }
    for (Fields fields(graph); fields.next();) {
      if (fields.field().number != graph_field::kOutput) continue;
      const auto name = bytes_of(fields.field().bytes, value_info_field::kName);
      if (!scope.has(name)) {
        fail(Kind::InvalidInput, "no node of the ONNX file produces '", shown(name),
             "', which is an output of its graph: ", kExportAgain);
      }
    }
  }

 private:
  /// Adds the names that are defined before the first node. An input with an initializer has that as its default.
  static void add_given(std::string_view graph, Scope& scope) {
    for (Fields fields(graph); fields.next();) {
      const auto& field = fields.field();
      if (field.number == graph_field::kSparseInitializer) {
        fail(Kind::Unsupported, "the ONNX file has '",
             shown(bytes_of(bytes_of(field.bytes, sparse_tensor_field::kValues), tensor_field::kName)),
             "' as a sparse tensor, which OpenVINO does not read: export it dense");
      }
      if (field.number != graph_field::kInitializer) continue;
      const auto name = bytes_of(field.bytes, tensor_field::kName);
      if (name.empty()) fail(Kind::InvalidInput, "an initializer of the ONNX file has no name: ", kExportAgain);
      add(name, scope);
    }
    for (Fields fields(graph); fields.next();) {
      if (fields.field().number == graph_field::kInput) {
        scope.names.insert(bytes_of(fields.field().bytes, value_info_field::kName));
      }
    }
  }

  static void add(std::string_view name, Scope& scope) {
    if (scope.names.insert(name).second) return;
    fail(Kind::InvalidInput, "the ONNX file defines '", shown(name),
         "' twice, which ONNX does not allow: export it again");
  }

  void check_node(std::string_view message, Scope& scope) const {
    const OnnxNode node(message);
    if (node.op.empty()) {
      fail(Kind::InvalidInput, "the node '", shown(node.label()), "' of the ONNX file has no operator: ", kExportAgain);
    }
    check_operator(node);
    for (Fields fields(message); fields.next();) {
      const auto& field = fields.field();
      if (field.number != node_field::kInput || field.bytes.empty() || scope.has(field.bytes)) continue;
      fail(Kind::InvalidInput, "the node '", shown(node.label()), "' (", shown(node.op), ") of the ONNX file takes '",
           shown(field.bytes),
           "', which no input, initializer or earlier node provides: the file is cut off or damaged, or its nodes are "
           "not in execution order. Fetch or export it again");
    }
    for (Fields fields(message); fields.next();) {
      if (fields.field().number == node_field::kAttribute) check_subgraphs(fields.field().bytes, scope);
    }
    for (Fields fields(message); fields.next();) {
      const auto& field = fields.field();
      if (field.number == node_field::kOutput && !field.bytes.empty()) add(field.bytes, scope);
    }
  }

  void check_subgraphs(std::string_view attribute, const Scope& scope) const {
    for (Fields fields(attribute); fields.next();) {
      const auto& field = fields.field();
      if (field.number == attribute_field::kGraph || field.number == attribute_field::kGraphs) {
        check(field.bytes, &scope);
      }
    }
  }

  void check_operator(const OnnxNode& node) const {
    if (functions_.count({node.domain, node.op}) != 0) {
      fail(Kind::Unsupported, "the node '", shown(node.label()), "' calls '", shown(node.op),
           "', a function that the ONNX file defines, and OpenVINO reads no functions: inline them with "
           "onnx.inliner.inline_local_functions(model)");
    }
    if (opsets_.count(std::string(node.domain)) != 0) return;
    if (node.domain.empty() && ir_version_ < kFirstIrVersionWithOpsets) return;
    fail(Kind::InvalidInput, "the node '", shown(node.label()), "' (", shown(node.op), ") is an operator of ",
         node.domain.empty() ? "ai.onnx" : shown(node.domain),
         ", whose version the ONNX file does not state (in opset_import): ", kExportAgain);
  }

  const std::set<Function> functions_;
  const Opsets& opsets_;
  const int64_t ir_version_;
};

std::set<Function> read_functions(std::string_view model) {
  std::set<Function> functions;
  for (Fields fields(model); fields.next();) {
    const auto& field = fields.field();
    if (field.number != model_field::kFunctions) continue;
    const auto domain = bytes_of(field.bytes, function_field::kDomain);
    functions.emplace(domain == "ai.onnx" ? std::string_view{} : domain, bytes_of(field.bytes, function_field::kName));
  }
  return functions;
}

}  // namespace

void check_graph(std::string_view model, const Opsets& opsets, int64_t ir_version) {
  GraphCheck(read_functions(model), opsets, ir_version).check(bytes_of(model, model_field::kGraph), nullptr);
}

}  // namespace trtserve::openvino
