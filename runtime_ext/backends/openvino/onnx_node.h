#pragma once

#include <functional>
#include <string_view>

namespace trtserve::openvino {

/// A NodeProto's operator and names, as views into its message.
struct OnnxNode {
  explicit OnnxNode(std::string_view message);

  /// The name by which a person can find the node.
  std::string_view label() const { return name.empty() ? first_output : name; }

  std::string_view name;
  std::string_view first_output;
  std::string_view op;
  std::string_view domain;  // "" is ai.onnx
};

/// Calls `visit` with each node of a checked ModelProto's graph and its subgraphs, until it returns false.
void visit_nodes(std::string_view model, const std::function<bool(const OnnxNode&)>& visit);

}  // namespace trtserve::openvino
