#include "backends/torchscript/growth.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <torch/csrc/jit/runtime/custom_operator.h>

#include "backends/torchscript/growth_sizes.h"
#include "backends/torchscript/nodes.h"
#include "core/module_memory.h"

namespace trtserve::torchscript {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Stack;

namespace {

/// Operators whose rule is not Sum.
const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> kRules = {
      {"mul", Rule::Times},
      {"mul_", Rule::Times},
      {"expandtabs", Rule::Times},
      {"rangelist", Rule::Times},
      {"ljust", Rule::Width},
      {"rjust", Rule::Width},
      {"center", Rule::Width},
      {"zfill", Rule::Width},
      {"join", Rule::Join},
      {"replace", Rule::Replace},
      {"str", Rule::Text},
      {"format", Rule::Text},
      {"percentFormat", Rule::Text},
      {"list", Rule::Entries},
      {"splitlines", Rule::Entries},
      {"rsplit", Rule::Entries},
      {"dict", Rule::Entries},
      {"items", Rule::Entries},
      {"unbind", Rule::Unbind},
      {"unbind_copy", Rule::Unbind},
      {"split", Rule::Split},
      {"split_copy", Rule::Split},
      {"split_with_sizes", Rule::Split},
      {"split_with_sizes_copy", Rule::Split},
      {"unsafe_split", Rule::Split},
      {"unsafe_split_with_sizes", Rule::Split},
      {"chunk", Rule::Chunk},
      {"unsafe_chunk", Rule::Chunk},
      {"tensor_split", Rule::Tensors},
      {"hsplit", Rule::Tensors},
      {"vsplit", Rule::Tensors},
      {"dsplit", Rule::Tensors},
      {"tolist", Rule::Nested},
      {"append", Rule::Element},
      {"insert", Rule::Element},
      {"_set_item", Rule::Element},
      {"setdefault", Rule::Element},
      {"sort", Rule::Scratch},
      {"argsort", Rule::Scratch},
      {"msort", Rule::Scratch},
      {"topk", Rule::Scratch},
      {"kthvalue", Rule::Scratch},
      {"mode", Rule::Scratch},
      {"median", Rule::Scratch},
      {"nanmedian", Rule::Scratch},
      {"quantile", Rule::Scratch},
      {"nanquantile", Rule::Scratch},
      {"unique_consecutive", Rule::Scratch},
      {"unique_dim", Rule::Scratch},
      {"_unique", Rule::Scratch},
      {"_unique2", Rule::Scratch},
      {"cat", Rule::Tensors},
      {"concat", Rule::Tensors},
      {"concatenate", Rule::Tensors},
      {"stack", Rule::Tensors},
      {"hstack", Rule::Tensors},
      {"vstack", Rule::Tensors},
      {"dstack", Rule::Tensors},
      {"row_stack", Rule::Tensors},
      {"column_stack", Rule::Tensors},
      {"block_diag", Rule::Tensors},
      {"cartesian_prod", Rule::Tensors},
  };
  return kRules;
}

/// Operators of torch whose result is small whatever their operands are.
const std::set<std::string_view>& small() {
  static const std::set<std::string_view> kSmall = {"__getitem__", "size", "stride", "Size",
                                                    "bin",         "hex",  "oct",    "chr"};
  return kSmall;
}

/// Those that make a list or a dictionary larger that they do not return.
const std::set<std::string_view>& changes() {
  static const std::set<std::string_view> kChanges = {"extend", "update",    "append",
                                                      "insert", "_set_item", "setdefault"};
  return kChanges;
}

/// Those that return the elements of a list or a dictionary as they are.
const std::set<std::string_view>& copies() {
  static const std::set<std::string_view> kCopies = {"add", "add_", "copy", "slice", "values"};
  return kCopies;
}

bool is_container(const torch::jit::Value* value) {
  const auto kind = value->type()->kind();
  return kind == c10::TypeKind::ListType || kind == c10::TypeKind::DictType || kind == c10::TypeKind::StringType;
}

bool returns_tensors(const torch::jit::Value* output) {
  const auto list = output->type()->cast<c10::ListType>();
  return list && list->getElementType()->kind() == c10::TypeKind::TensorType;
}

/// The rule of a node that may take much; nothing for others.
std::optional<Rule> rule_of(const Node& node) {
  const std::string name = node.kind().toUnqualString();
  const auto found = rules().find(name);
  const auto rule = found == rules().end() ? std::nullopt : std::optional(found->second);
  if (node.kind().is_prim()) return name == "tolist" || name == "rangelist" ? rule : std::nullopt;
  if (!node.kind().is_aten() || small().count(name) != 0) return std::nullopt;
  // These take memory for tensors, whatever they return.
  if (name.rfind("fft_", 0) == 0 || rule == Rule::Scratch) return Rule::Scratch;
  if (rule == Rule::Tensors) return rule;
  const auto outputs = node.outputs();
  if (changes().count(name) == 0 && !std::any_of(outputs.begin(), outputs.end(), is_container)) return std::nullopt;
  if (rule) return rule;
  const bool makes_tensors = copies().count(name) == 0 && std::any_of(outputs.begin(), outputs.end(), returns_tensors);
  return makes_tensors ? Rule::Tensors : Rule::Sum;
}

/// The number of operands comes last, as of every operator that takes any number of them.
const torch::jit::RegisterOperators check({torch::jit::Operator(
    "trt::check_growth(int rule, ...) -> ()",
    [](Stack& stack) {
      const auto count = static_cast<size_t>(torch::jit::pop(stack).toInt());
      const auto values = torch::jit::last(stack, count);
      const auto bytes = taken_by(static_cast<Rule>(values[0].toInt()), values.slice(1));
      torch::jit::drop(stack, count);
      if (bytes != 0) check_module_memory(bytes);
    },
    c10::AliasAnalysisKind::CONSERVATIVE)});

void check_before(Node& node, Rule rule) {
  auto& graph = *node.owningGraph();
  const torch::jit::WithInsertPoint before(&node);
  auto* inserted = graph.create(c10::Symbol::fromQualString("trt::check_growth"), 0);
  inserted->addInput(graph.insertConstant(static_cast<int64_t>(rule)));
  for (auto* operand : node.inputs()) inserted->addInput(operand);
  graph.insertNode(inserted);
}

}  // namespace

void check_growth(Graph& graph) {
  std::vector<std::pair<Node*, Rule>> found;
  for_each_node(graph, [&](Node& node) {
    if (const auto rule = rule_of(node)) found.emplace_back(&node, *rule);
  });
  for (const auto& [node, rule] : found) check_before(*node, rule);
}

}  // namespace trtserve::torchscript
