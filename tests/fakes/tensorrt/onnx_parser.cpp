#include "onnx_parser.h"

#include <algorithm>

#include "fake_builder.h"

namespace trtserve::fake::trt {

using nvonnxparser::ErrorCode;

namespace {

/// As the real parser says it.
std::unique_ptr<ParserError> refusal(const RefusedNode& node, int number) {
  const bool unknown = node.reason.empty();
  const std::string reason =
      unknown ? "Plugin not found, are the plugin name, version, and namespace correct?" : node.reason;
  const std::string text = "In node " + std::to_string(number) + " with name: " + node.name +
                           " and operator: " + node.operation +
                           " (checkFallbackPluginImporter): INVALID_NODE: " + "creator && \"" + reason + "\"";
  return std::make_unique<ParserError>(unknown ? ErrorCode::kINVALID_NODE : ErrorCode::kUNSUPPORTED_NODE_ATTR, text,
                                       number, node);
}

}  // namespace

void Parser::operator delete(Parser* self, std::destroying_delete_t) {
  const auto state = destroy(self->object_);
  if (state == nullptr) return;
  if (state->network->destroyed) breached("delete: the parser was destroyed after its network");
  state->network->weights_gone = true;
}

bool Parser::parse(void const* model, size_t size, const char* path) noexcept {
  const Call call(object_, "parse");
  if (!call) return false;
  if (path == nullptr) breached("parse: without a path, data beside the model is looked for in the current folder");
  if (call->network->model) breached("parse: the network is not empty");
  const auto add = [&](ErrorCode code, const std::string& text) {
    call->errors.push_back(std::make_unique<ParserError>(code, text));
    return false;
  };
  try {
    auto read = read_model({static_cast<const char*>(model), size});
    if (!read) return add(ErrorCode::kMODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model.");
    for (const auto& node : read->refused) {
      call->errors.push_back(refusal(node, static_cast<int>(call->errors.size())));
      if (node.reason.empty()) call->unknown.push_back(node.operation);
    }
    if (!call->errors.empty()) return false;
    network_.define(*call->network, std::move(*read));
    return true;
  } catch (const PlanError& error) {
    return add(ErrorCode::kINVALID_GRAPH, error.what());
  }
}

bool Parser::supportsOperator(const char* operation) const noexcept {
  const Call call(object_, "supportsOperator");
  return call && std::find(call->unknown.begin(), call->unknown.end(), operation) == call->unknown.end();
}

int Parser::getNbErrors() const noexcept {
  const Call call(object_, "getNbErrors");
  return call ? static_cast<int>(call->errors.size()) : 0;
}

nvonnxparser::IParserError const* Parser::getError(int index) const noexcept {
  const Call call(object_, "getError");
  return call && static_cast<size_t>(index) < call->errors.size() ? call->errors[static_cast<size_t>(index)].get()
                                                                  : nullptr;
}

}  // namespace trtserve::fake::trt

void* fake_trt_create_parser(void* network, void* logger, int version) {
  namespace trt = trtserve::fake::trt;
  if (network == nullptr || logger == nullptr || version != NV_ONNX_PARSER_VERSION) {
    trt::breached("createNvOnnxParser_INTERNAL: called without a network or a logger, or with version ", version);
    return nullptr;
  }
  auto& of = static_cast<trt::Network&>(*static_cast<nvinfer1::INetworkDefinition*>(network));
  const trt::Call call(of.object(), "createNvOnnxParser_INTERNAL");
  if (!call) return nullptr;
  auto parser = std::make_shared<trt::Parser>(of, std::make_shared<trt::ParserState>(call.state()));
  trt::keep(parser);
  return static_cast<nvonnxparser::IParser*>(parser.get());
}
