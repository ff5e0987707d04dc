#include "backends/openvino/onnx_node.h"

#include "backends/openvino/onnx_fields.h"
#include "core/protobuf.h"

namespace trtserve::openvino {

namespace {

/// Returns false once `visit` has. Recursion is bounded by the depth that check_messages() allows.
bool visit_graph(std::string_view graph, const std::function<bool(const OnnxNode&)>& visit);

bool visit_attribute(std::string_view attribute, const std::function<bool(const OnnxNode&)>& visit) {
  for (Fields fields(attribute); fields.next();) {
    const auto& field = fields.field();
    const bool graph = field.number == attribute_field::kGraph || field.number == attribute_field::kGraphs;
    if (graph && !visit_graph(field.bytes, visit)) return false;
  }
  return true;
}

bool visit_graph(std::string_view graph, const std::function<bool(const OnnxNode&)>& visit) {
  for (Fields nodes(graph); nodes.next();) {
    if (nodes.field().number != graph_field::kNode) continue;
    const auto message = nodes.field().bytes;
    if (!visit(OnnxNode(message))) return false;
    for (Fields fields(message); fields.next();) {
      if (fields.field().number == node_field::kAttribute && !visit_attribute(fields.field().bytes, visit))
        return false;
    }
  }
  return true;
}

}  // namespace

OnnxNode::OnnxNode(std::string_view message) {
  for (Fields fields(message); fields.next();) {
    const auto& field = fields.field();
    if (field.number == node_field::kName) name = field.bytes;
    if (field.number == node_field::kOutput && first_output.empty()) first_output = field.bytes;
    if (field.number == node_field::kOperator) op = field.bytes;
    if (field.number == node_field::kDomain) domain = field.bytes;
  }
  if (domain == "ai.onnx") domain = {};
}

void visit_nodes(std::string_view model, const std::function<bool(const OnnxNode&)>& visit) {
  visit_graph(bytes_of(model, model_field::kGraph), visit);
}

}  // namespace trtserve::openvino
