#include "backends/tensorrt/onnx_model.h"

#include <filesystem>

#include "backends/tensorrt/onnx_fields.h"
#include "core/error.h"
#include "core/protobuf.h"

namespace trtserve::tensorrt {

namespace {

namespace fs = std::filesystem;

constexpr int kMostDepth = 64;  // of graphs in graphs

/// The messages that lead to tensors, from the model down: a field, and the kind of message that it holds.
enum class Message { Model, Graph, Function, Node, Attribute, Tensor, SparseTensor };
struct Part {
  Message in;
  uint32_t field;
  Message holds;
};
constexpr Part kParts[] = {
    {Message::Model, kModelGraph, Message::Graph},
    {Message::Model, kModelFunctions, Message::Function},
    {Message::Graph, kGraphNode, Message::Node},
    {Message::Graph, 5, Message::Tensor},
    {Message::Graph, 15, Message::SparseTensor},
    {Message::Function, kFunctionNode, Message::Node},
    {Message::Function, 11, Message::Attribute},
    {Message::Node, kNodeAttribute, Message::Attribute},
    {Message::Attribute, 5, Message::Tensor},
    {Message::Attribute, 10, Message::Tensor},
    {Message::Attribute, kAttributeGraph, Message::Graph},
    {Message::Attribute, kAttributeGraphs, Message::Graph},
    {Message::Attribute, 22, Message::SparseTensor},
    {Message::Attribute, 23, Message::SparseTensor},
    {Message::SparseTensor, 1, Message::Tensor},
    {Message::SparseTensor, 2, Message::Tensor},
};

/// Checks where the tensors of one model keep their data.
class DataCheck {
 public:
  DataCheck(const std::string& model, bool allowed)
      : folder_(fs::weakly_canonical(fs::absolute(model).parent_path())), allowed_(allowed) {}

  void check(Message kind, std::string_view message, int depth = 0) const {
    if (depth > kMostDepth) fail(Kind::InvalidInput, "the model has more than ", kMostDepth, " graphs within graphs");
    for (Fields fields(message); fields.next();) {
      if (fields.field().type != WireType::Bytes) continue;
      const auto bytes = fields.field().bytes;
      if (kind == Message::Tensor && fields.field().number == kTensorExternalData) check_entry(bytes);
      for (const auto& part : kParts) {
        if (part.in != kind || part.field != fields.field().number) continue;
        check(part.holds, bytes, depth + (part.holds == Message::Graph ? 1 : 0));
      }
    }
  }

 private:
  /// A field may come twice, and then readers differ in which they take: all of them are checked.
  void check_entry(std::string_view entry) const {
    bool is_location = false;
    for (Fields fields(entry); fields.next();) {
      is_location |= fields.field().number == 1 && fields.field().bytes == "location";
    }
    for (Fields fields(entry); is_location && fields.next();) {
      if (fields.field().number == 2) check_location(fields.field().bytes);
    }
  }

  void check_location(std::string_view location) const {
    if (!allowed_) {
      fail(Kind::InvalidInput, "the model keeps the data of a tensor in the file '", location,
           "', which was not sent with it: save the model with its data inside");
    }
    // Compared after links are followed.
    const fs::path given(location);
    std::error_code unknown;
    const auto file = fs::weakly_canonical(folder_ / given, unknown);
    const auto inside = file.lexically_relative(folder_);
    if (!unknown && given.is_relative() && !inside.empty() && *inside.begin() != ".." && file != folder_) return;
    fail(Kind::InvalidInput, "the model keeps the data of a tensor in the file '", location,
         "', which is not in the model's folder: save the model with its data inside, or beside it");
  }

  const fs::path folder_;
  const bool allowed_;
};

}  // namespace

std::optional<OnnxNode> find_node(std::string_view model, int number) {
  int at = 0;
  for (Fields fields(bytes_of(model, kModelGraph)); number >= 0 && fields.next();) {
    if (fields.field().number != kGraphNode || at++ != number) continue;
    const auto node = fields.field().bytes;
    return OnnxNode{std::string(bytes_of(node, kNodeName)), std::string(bytes_of(node, kNodeOperation))};
  }
  return std::nullopt;
}

void check_external_data(std::string_view model, const std::string& path, bool allowed) {
  if (model.empty()) fail(Kind::InvalidInput, "the model is empty");
  DataCheck(path, allowed).check(Message::Model, model);
}

}  // namespace trtserve::tensorrt
