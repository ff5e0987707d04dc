#include "backends/openvino/load_failure.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "backends/openvino/onnx_node.h"
#include "backends/openvino/reason.h"
#include "backends/openvino/shown.h"
#include "core/error.h"
#include "core/mapped_file.h"

namespace trtserve::openvino {

namespace {

constexpr std::string_view kNoRule = "No conversion rule found for operations: ";
constexpr std::string_view kAtNode = "While validating ONNX node '<Node(";
constexpr size_t kMostNamed = 5;

/// Words by which OpenVINO reports that it lacks a feature.
constexpr std::array<std::string_view, 8> kLacks = {"upported", "support", "implemented",  "not allowed",
                                                    "Only ",    "only ",   "dynamic rank", "is expected to be"};

std::string_view between(std::string_view text, std::string_view begin, std::string_view end) {
  const auto from = text.find(begin);
  if (from == std::string_view::npos) return {};
  text.remove_prefix(from + begin.size());
  return text.substr(0, text.find(end));
}

bool lacks(std::string_view text) {
  return std::any_of(kLacks.begin(), kLacks.end(),
                     [&](auto word) { return text.find(word) != std::string_view::npos; });
}

/// "Gelu of com.microsoft, opset 1"
std::string operator_name(const OnnxNode& node, const Opsets& opsets) {
  const std::string domain(node.domain);
  const auto opset = opsets.find(domain);
  return c10::str(shown(node.op), " of ", domain.empty() ? "ai.onnx" : shown(domain), ", opset ",
                  opset == opsets.end() ? 1 : opset->second);
}

std::set<std::string> listed(std::string_view names) {
  std::set<std::string> list;
  while (!names.empty()) {
    const auto end = std::min(names.find(", "), names.size());
    list.emplace(names.substr(0, end));
    names.remove_prefix(std::min(end + 2, names.size()));
  }
  return list;
}

/// Throws for operators that OpenVINO lists as "Det-22" or "com.microsoft.EPContext", with or without a version.
void fail_unknown_operators(std::string_view names, std::string_view model, const Opsets& opsets) {
  const auto unknown = listed(names);
  const auto is_unknown = [&](const OnnxNode& node) {
    const std::string op = node.domain.empty() ? std::string(node.op) : c10::str(node.domain, ".", node.op);
    const auto opset = opsets.find(std::string(node.domain));
    return unknown.count(op) != 0 || (opset != opsets.end() && unknown.count(c10::str(op, "-", opset->second)) != 0);
  };
  std::vector<std::string> found;
  std::set<std::string> operators;
  visit_nodes(model, [&](const OnnxNode& node) {
    if (is_unknown(node) && operators.insert(operator_name(node, opsets)).second) {
      found.push_back(c10::str(operator_name(node, opsets), " (node '", shown(node.label()), "')"));
    }
    return found.size() < kMostNamed;
  });
  if (found.empty()) return;
  std::string all;
  for (const auto& one : found) all += (all.empty() ? "" : "; ") + one;
  fail(Kind::Unsupported, "OpenVINO does not have the operator ", all, ": export the model without it");
}

/// `text` contains the node's operator, its outputs, and then the reason.
void fail_at_node(std::string_view text, std::string_view model, const Opsets& opsets) {
  const auto op = text.substr(0, text.find(')'));
  const auto output = between(text, "): ", ">'");
  const auto why = text.substr(std::min(text.find(">'"), text.size()));
  std::string label = c10::str("the node '", shown(output), "' (", shown(op), ")");
  visit_nodes(model, [&](const OnnxNode& node) {
    // Further outputs follow the first.
    if (node.op != op || output.substr(0, node.first_output.size()) != node.first_output) return true;
    label = c10::str("the node '", shown(node.label()), "' (", operator_name(node, opsets), ")");
    return false;
  });
  auto detail = plain(why.substr(std::min<size_t>(why.size(), std::string_view(">':").size())));
  // In "While validating node 'opset1::Add …'": if that is the node's own operator, its inputs are at fault; if it is
  // another, OpenVINO could not build this operator from its own.
  const auto own = between(why, "While validating node '", " ");
  const auto inner = own.substr(std::min(own.find("::"), own.size()));
  const bool inputs = detail.empty() || (inner.size() > 2 && inner.substr(2) == op);
  if (detail.empty()) detail = "inputs or attributes are missing or not of the kind that the operator accepts";
  fail(inputs && !lacks(detail) ? Kind::InvalidInput : Kind::Unsupported, "OpenVINO cannot take ", label, ": ", detail);
}

}  // namespace

void fail_conversion(const std::exception& error, const std::string& path, const Opsets& opsets) {
  const std::string_view text = error.what();
  const MappedFile file(path);
  if (const auto names = between(text, kNoRule, "\n"); !names.empty()) {
    fail_unknown_operators(names, file.bytes(), opsets);
  }
  if (const auto at = text.find(kAtNode); at != std::string_view::npos && !says_no_memory(text)) {
    fail_at_node(text.substr(at + kAtNode.size()), file.bytes(), opsets);
  }
  fail_load(error);
}

void fail_load(const std::exception& error) {
  const std::string detail = reason(error);
  fail(lacks(detail) ? Kind::Unsupported : Kind::InvalidInput, "OpenVINO cannot load the plan: ", detail);
}

}  // namespace trtserve::openvino
