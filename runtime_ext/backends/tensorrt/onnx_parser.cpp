#include "backends/tensorrt/onnx_parser.h"

#include "backends/tensorrt/builder_generation.h"
#include "backends/tensorrt/onnx_model.h"

namespace trtserve::tensorrt {

namespace {

using nvonnxparser::ErrorCode;

/// The parser's own words: what an assertion says in quotes, else all of it.
std::string words_of(const std::string& description) {
  const auto end = description.rfind('"');
  const auto begin = end == std::string::npos || end == 0 ? std::string::npos : description.rfind('"', end - 1);
  if (begin == std::string::npos || end - begin < 2) return description;
  return description.substr(begin + 1, end - begin - 1);
}

/// The node at fault: from the parser where it tells, else read from the model.
OnnxNode node_of(const nvonnxparser::IParserError& error, std::string_view model) {
  auto [name, operation] = generation::node_of(error);
  if (operation.empty()) {
    if (auto found = find_node(model, error.node())) return *found;
  }
  return {name, operation};
}

std::string shown(const OnnxNode& node, int number) {
  const std::string which = node.name.empty() ? "" : c10::str(" '", node.name, "'");
  const std::string place = number < 0 ? "" : c10::str(" (number ", number, " of the graph)");
  return c10::str("the operator ", node.operation, " of node", which, place);
}

[[noreturn]] void refuse(const nvonnxparser::IParserError& error, const nvonnxparser::IParser& parser,
                         std::string_view model, const std::string& version) {
  const std::string reason = words_of(error.desc() == nullptr ? "" : error.desc());
  switch (error.code()) {
    case ErrorCode::kMEM_ALLOC_FAILED:
      fail(Kind::Unavailable, "memory ran out while TensorRT read the model: ", reason);
    case ErrorCode::kMODEL_DESERIALIZE_FAILED:
      fail(Kind::InvalidInput, "TensorRT ", version, " cannot read the model: ", reason);
    default:
      break;
  }
  const OnnxNode node = node_of(error, model);
  if (node.operation.empty()) {
    const bool unsupported = error.code() >= ErrorCode::kUNSUPPORTED_GRAPH;
    fail(unsupported ? Kind::Unsupported : Kind::InvalidInput, "TensorRT ", version,
         " does not accept the model: ", reason);
  }
  const std::string which = shown(node, error.node());
  if (!parser.supportsOperator(node.operation.c_str())) {
    fail(
        Kind::Unsupported, "TensorRT ", version, " does not know ", which,
        ": use a newer TensorRT, replace the operator or decompose it into others, or name a library with a plugin for "
        "it in the setting tensorrt_plugins");
  }
  if (error.code() >= ErrorCode::kUNSUPPORTED_GRAPH) {
    fail(Kind::Unsupported, "TensorRT ", version, " does not support ", which, " as the model uses it: ", reason,
         ". Use a newer TensorRT, or change how the model uses the operator");
  }
  fail(Kind::InvalidInput, "TensorRT ", version, " does not accept ", which, ": ", reason);
}

}  // namespace

void parse(nvonnxparser::IParser& parser, std::string_view model, const std::string& path, const BuildLog& log,
           const std::string& version) {
  if (parser.parse(model.data(), model.size(), path.c_str())) return;
  // The first: others may follow from it.
  for (int i = 0; i < parser.getNbErrors(); ++i) {
    if (const auto* error = parser.getError(i)) refuse(*error, parser, model, version);
  }
  log.fail_with_errors(Kind::InvalidInput, c10::str("TensorRT ", version, " cannot read the model"));
}

}  // namespace trtserve::tensorrt
