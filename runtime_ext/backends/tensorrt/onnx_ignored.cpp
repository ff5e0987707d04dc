#include "backends/tensorrt/onnx_ignored.h"

#include <algorithm>

#include "backends/tensorrt/generation.h"
#include "backends/tensorrt/onnx_fields.h"
#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve::tensorrt {

namespace {

constexpr std::string_view kReductions[] = {"ReduceL1",   "ReduceL2",  "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
                                            "ReduceMean", "ReduceMin", "ReduceProd",   "ReduceSumSquare"};
// Not ReduceSum, whose axes have been an input since opset 13.

bool is_one_of_ours(std::string_view domain) { return domain.empty() || domain == "ai.onnx"; }

/// The attribute of a node with this name; empty if there is none.
std::string_view attribute_of(std::string_view node, std::string_view name) {
  for (Fields fields(node); fields.next();) {
    if (fields.field().number == kNodeAttribute && bytes_of(fields.field().bytes, kAttributeName) == name) {
      return fields.field().bytes;
    }
  }
  return {};
}

bool is_set(std::string_view node, std::string_view name) {
  for (Fields fields(attribute_of(node, name)); fields.next();) {
    if (fields.field().number == kAttributeInt) return fields.field().value != 0;
  }
  return false;
}

/// True if the node has an attribute of this name with another word than `usual`.
bool says_other_than(std::string_view usual, std::string_view node, std::string_view name) {
  const auto attribute = attribute_of(node, name);
  return !attribute.empty() && bytes_of(attribute, kAttributeString) != usual;
}

bool has_second_input(std::string_view node) {
  int inputs = 0;
  for (Fields fields(node); fields.next();) {
    if (fields.field().number == kNodeInput && ++inputs == 2) return !fields.field().bytes.empty();
  }
  return false;
}

/// What of the node would be ignored; empty: nothing.
std::string_view ignored_in(std::string_view node, std::string_view operation) {
  if (std::find(std::begin(kReductions), std::end(kReductions), operation) != std::end(kReductions)) {
    return has_second_input(node) ? "axes as an input" : "";
  }
  if (operation == "ScatterElements" || operation == "ScatterND") {
    return says_other_than("none", node, "reduction") ? "the attribute reduction" : "";
  }
  if (operation == "Resize") {
    if (is_set(node, "antialias")) return "the attribute antialias";
    if (!attribute_of(node, "axes").empty()) return "the attribute axes";
    return says_other_than("stretch", node, "keep_aspect_ratio_policy") ? "the attribute keep_aspect_ratio_policy" : "";
  }
  return "";
}

/// Checks the nodes of a graph or function, and of the graphs within. check_external_data() has bounded their depth.
void check_nodes(std::string_view graph, uint32_t node_field, const std::string& version) {
  for (Fields nodes(graph); nodes.next();) {
    if (nodes.field().number != node_field) continue;
    const auto node = nodes.field().bytes;
    const auto operation = bytes_of(node, kNodeOperation);
    const auto ignored = is_one_of_ours(bytes_of(node, kNodeDomain)) ? ignored_in(node, operation) : "";
    if (!ignored.empty()) {
      fail(Kind::Unsupported, "TensorRT ", version, " does not support the operator ", operation, " of node '",
           bytes_of(node, kNodeName), "' as the model uses it: it ignores ", ignored,
           ". Export the model with opset 17 or an earlier one, or use TensorRT 10 or newer");
    }
    for (Fields attributes(node); attributes.next();) {
      if (attributes.field().number != kNodeAttribute) continue;
      for (Fields inner(attributes.field().bytes); inner.next();) {
        const auto number = inner.field().number;
        if (number == kAttributeGraph || number == kAttributeGraphs) {
          check_nodes(inner.field().bytes, kGraphNode, version);
        }
      }
    }
  }
}

}  // namespace

void check_nothing_is_ignored(std::string_view model, const std::string& version) {
  if (generation::kMajor >= 10) return;
  for (Fields fields(model); fields.next();) {
    if (fields.field().number == kModelGraph) check_nodes(fields.field().bytes, kGraphNode, version);
    if (fields.field().number == kModelFunctions) check_nodes(fields.field().bytes, kFunctionNode, version);
  }
}

}  // namespace trtserve::tensorrt
