#include "backends/tensorrt/onnx_model.h"

#include <filesystem>

#include "core/error.h"
#include "core/protobuf.h"

// The numbers of fields are those of onnx.proto.

namespace trtserve::tensorrt {

namespace {

constexpr uint32_t kModelGraph = 7;
constexpr uint32_t kModelFunctions = 25;
constexpr uint32_t kNode = 1;  // of a graph
constexpr uint32_t kNodeName = 3;
constexpr uint32_t kNodeOperation = 4;
constexpr uint32_t kTensorExternalData = 13;
constexpr int kMostDepth = 64;  // of graphs in graphs

/// The messages that lead to tensors, from the model down: a field, and the kind of message that it holds.
enum class Message { Model, Graph, Function, Node, Attribute, Tensor, SparseTensor };
struct Part {
  Message in;
  uint32_t field;
  Message holds;
};
constexpr Part kParts[] = {
    {Message::Model, kModelGraph, Message::Graph},   {Message::Model, kModelFunctions, Message::Function},
    {Message::Graph, kNode, Message::Node},          {Message::Graph, 5, Message::Tensor},
    {Message::Graph, 15, Message::SparseTensor},     {Message::Function, 7, Message::Node},
    {Message::Function, 11, Message::Attribute},     {Message::Node, 5, Message::Attribute},
    {Message::Attribute, 5, Message::Tensor},        {Message::Attribute, 10, Message::Tensor},
    {Message::Attribute, 6, Message::Graph},         {Message::Attribute, 11, Message::Graph},
    {Message::Attribute, 22, Message::SparseTensor}, {Message::Attribute, 23, Message::SparseTensor},
    {Message::SparseTensor, 1, Message::Tensor},     {Message::SparseTensor, 2, Message::Tensor},
};

void check_location(std::string_view location, const std::string& model) {
  namespace fs = std::filesystem;
  const fs::path given(location);
  std::error_code unknown;
  const auto folder = fs::weakly_canonical(fs::absolute(model).parent_path(), unknown);
  const auto file = fs::weakly_canonical(folder / given, unknown);
  // Compared after links are followed; a location of another kind than a plain relative path cannot be compared.
  const auto inside = file.lexically_relative(folder);
  if (!unknown && given.is_relative() && !inside.empty() && *inside.begin() != ".." && file != folder) return;
  fail(Kind::InvalidInput, "the model keeps the data of a tensor in the file '", location,
       "', which is not in the model's folder: save the model with its data inside, or beside it");
}

/// A field may come twice, and then readers differ in which they take: all of them are checked.
void check_entry(std::string_view entry, const std::string& path) {
  bool is_location = false;
  for (Fields fields(entry); fields.next();) {
    is_location |= fields.field().number == 1 && fields.field().bytes == "location";
  }
  for (Fields fields(entry); is_location && fields.next();) {
    if (fields.field().number == 2) check_location(fields.field().bytes, path);
  }
}

void check_tensor(std::string_view tensor, const std::string& path) {
  for (Fields fields(tensor); fields.next();) {
    if (fields.field().number == kTensorExternalData) check_entry(fields.field().bytes, path);
  }
}

void check(Message kind, std::string_view message, const std::string& path, int depth) {
  if (depth > kMostDepth) fail(Kind::InvalidInput, "the model has more than ", kMostDepth, " graphs within graphs");
  if (kind == Message::Tensor) return check_tensor(message, path);
  for (Fields fields(message); fields.next();) {
    for (const auto& part : kParts) {
      if (part.in != kind || part.field != fields.field().number || fields.field().type != WireType::Bytes) continue;
      check(part.holds, fields.field().bytes, path, depth + (part.holds == Message::Graph ? 1 : 0));
    }
  }
}

}  // namespace

std::optional<OnnxNode> find_node(std::string_view model, int number) {
  int at = 0;
  for (Fields fields(bytes_of(model, kModelGraph)); number >= 0 && fields.next();) {
    if (fields.field().number != kNode || at++ != number) continue;
    const auto node = fields.field().bytes;
    return OnnxNode{std::string(bytes_of(node, kNodeName)), std::string(bytes_of(node, kNodeOperation))};
  }
  return std::nullopt;
}

void check_external_data(std::string_view model, const std::string& path) {
  if (model.empty()) fail(Kind::InvalidInput, "the model is empty");
  check(Message::Model, model, path, 0);
}

}  // namespace trtserve::tensorrt
