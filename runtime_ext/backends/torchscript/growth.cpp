#include "backends/torchscript/growth.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string_view>

#include <torch/csrc/jit/runtime/custom_operator.h>

#include "backends/torchscript/nodes.h"
#include "core/graph_run.h"
#include "core/module_memory.h"

namespace trtserve::torchscript {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Stack;

namespace {

/// How large the result of an operator becomes, from its operands.
enum class Rule : int64_t {
  Sum,       ///< as large as they are together: the most of a copy, a concatenation, a part
  Times,     ///< as large as they are, as often as the integer says
  Width,     ///< as many characters as the integer says
  Join,      ///< the strings of the list, and the separator between them
  Replace,   ///< the string, with the third one wherever the second one may be
  Text,      ///< the elements as text, at any depth
  Entries,   ///< an object for each element or character
  Pieces,    ///< a tensor for each place of the longest dimension, or for each size in the list; or as Entries
  Sections,  ///< a tensor for each place of the longest dimension, or as many as the integer says
  Element,   ///< twice as large as the first one is, if it has no place for one more element
};

constexpr int64_t kElement = sizeof(c10::IValue);
constexpr int64_t kEntry = 96;   // bytes of a short string, a pair, an entry of a dictionary
constexpr int64_t kPiece = 300;  // bytes of a tensor without its elements
constexpr int64_t kNumber = 32;  // characters of a number, at most

constexpr int64_t kCopies = 2;  // of the result's size: operators copy strings before they use them

/// A list of this many elements may double its memory when one more comes, and nothing tells when: it is checked at
/// each kAskEvery-th element.
constexpr int64_t kLarge = int64_t{1} << 20;
constexpr int64_t kAskEvery = int64_t{1} << 16;

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
      {"unbind", Rule::Pieces},
      {"unbind_copy", Rule::Pieces},
      {"split", Rule::Pieces},
      {"split_copy", Rule::Pieces},
      {"split_with_sizes", Rule::Pieces},
      {"split_with_sizes_copy", Rule::Pieces},
      {"unsafe_split", Rule::Pieces},
      {"unsafe_split_with_sizes", Rule::Pieces},
      {"chunk", Rule::Pieces},
      {"unsafe_chunk", Rule::Pieces},
      {"tensor_split", Rule::Sections},
      {"hsplit", Rule::Sections},
      {"vsplit", Rule::Sections},
      {"dsplit", Rule::Sections},
      {"append", Rule::Element},
      {"insert", Rule::Element},
      {"_set_item", Rule::Element},
      {"setdefault", Rule::Element},
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

bool is_container(const torch::jit::Value* value) {
  const auto kind = value->type()->kind();
  return kind == c10::TypeKind::ListType || kind == c10::TypeKind::DictType || kind == c10::TypeKind::StringType;
}

bool may_grow(const Node& node) {
  const std::string name = node.kind().toUnqualString();
  if (node.kind().is_prim()) return name == "tolist" || name == "rangelist";
  if (!node.kind().is_aten() || small().count(name) != 0) return false;
  const auto outputs = node.outputs();
  return changes().count(name) != 0 || std::any_of(outputs.begin(), outputs.end(), is_container);
}

/// A number of bytes that stays at a maximum instead of overflowing.
class Bytes {
 public:
  void add(int64_t size, int64_t times = 1) {
    int64_t product = 0;
    if (__builtin_mul_overflow(size, std::max<int64_t>(times, 0), &product) ||
        __builtin_add_overflow(count_, product, &count_)) {
      count_ = kMost;
    }
  }
  int64_t count() const { return count_; }

 private:
  static constexpr int64_t kMost = int64_t{1} << 50;
  int64_t count_ = 0;
};

int64_t length(const c10::IValue& value) {
  if (value.isString()) return static_cast<int64_t>(value.toStringRef().size());
  if (value.isList()) return static_cast<int64_t>(value.toListRef().size());
  if (value.isGenericDict()) return static_cast<int64_t>(value.toGenericDict().size());
  if (value.isTensor()) return value.toTensor().numel();
  return 0;
}

int64_t bytes_of_element(const c10::IValue& container) {
  if (container.isString()) return 1;
  return container.isGenericDict() ? kEntry : kElement;
}

/// Counts the characters of a value's text, at most. A list may hold one list many times, at each of many depths: so it
/// asks on the way.
class Text {
 public:
  void add(const c10::IValue& value) {
    if (++values_ % kAskEvery == 0) go_on();
    if (value.isString()) return characters_.add(1, length(value));
    if (value.isTensor()) return characters_.add(kNumber, 1 + length(value));
    characters_.add(kNumber);
    if (value.isList()) {
      for (const auto& element : value.toListRef()) add(element);
    } else if (value.isTuple()) {
      for (const auto& element : value.toTupleRef().elements()) add(element);
    } else if (value.isGenericDict()) {
      for (const auto& entry : value.toGenericDict()) {
        add(entry.key());
        add(entry.value());
      }
    }
  }
  Bytes characters() const { return characters_; }

 private:
  void go_on() const {
    if (const auto* run = GraphRun::current()) run->check_wanted();
    check_module_memory(kCopies * characters_.count());
  }

  Bytes characters_;
  int64_t values_ = 0;
};

using Operands = c10::ArrayRef<c10::IValue>;

Bytes sum_of(Operands operands) {
  Bytes bytes;
  for (const auto& operand : operands) bytes.add(bytes_of_element(operand), length(operand));
  return bytes;
}

/// The largest integer among the operands.
int64_t integer_in(Operands operands) {
  int64_t largest = 0;
  for (const auto& operand : operands) {
    if (operand.isInt()) largest = std::max(largest, operand.toInt());
  }
  return largest;
}

Bytes joined(const c10::IValue& separator, const c10::IValue& strings) {
  Bytes bytes;
  bytes.add(length(separator), length(strings));
  for (const auto& string : strings.toListRef()) bytes.add(1, length(string));
  return bytes;
}

Bytes replaced(const c10::IValue& text, const c10::IValue& old, const c10::IValue& by) {
  Bytes bytes;
  bytes.add(1, length(text));
  bytes.add(length(by), length(text) / std::max<int64_t>(length(old), 1) + 1);
  return bytes;
}

Bytes text_of(Operands operands) {
  Text text;
  for (const auto& operand : operands) text.add(operand);
  return text.characters();
}

/// A tensor for each place of the longest dimension, or for each element of a list; a string for each character.
Bytes pieces_of(Operands operands) {
  Bytes bytes;
  for (const auto& operand : operands) {
    if (operand.isTensor() && operand.toTensor().dim() != 0) {
      const auto sizes = operand.toTensor().sizes();
      bytes.add(kPiece, *std::max_element(sizes.begin(), sizes.end()));
    } else if (!operand.isTensor()) {
      bytes.add(operand.isString() ? kEntry : kPiece, length(operand));
    }
  }
  return bytes;
}

Bytes doubled(const c10::IValue& container) {
  Bytes bytes;
  const auto count = length(container);
  if (count >= kLarge && count % kAskEvery == 0) bytes.add(2 * bytes_of_element(container), count);
  return bytes;
}

Bytes result_of(Rule rule, Operands operands) {
  Bytes bytes;
  switch (rule) {
    case Rule::Sum:
      return sum_of(operands);
    case Rule::Times:
      bytes.add(std::max(sum_of(operands).count(), kElement), integer_in(operands));
      return bytes;
    case Rule::Width:
      bytes = sum_of(operands);
      bytes.add(1, integer_in(operands));
      return bytes;
    case Rule::Join:
      return joined(operands[0], operands[1]);
    case Rule::Replace:
      return replaced(operands[0], operands[1], operands[2]);
    case Rule::Text:
      return text_of(operands);
    case Rule::Entries:
      for (const auto& operand : operands) bytes.add(kEntry, length(operand));
      return bytes;
    case Rule::Pieces:
      return pieces_of(operands);
    case Rule::Element:
      return doubled(operands[0]);
    case Rule::Sections:
      bytes = pieces_of(operands);
      bytes.add(kPiece, integer_in(operands));
      return bytes;
  }
  return bytes;
}

/// The number of operands comes last, as of every operator that takes any number of them.
const torch::jit::RegisterOperators check({torch::jit::Operator(
    "trt::check_growth(int rule, ...) -> ()",
    [](Stack& stack) {
      const auto count = static_cast<size_t>(torch::jit::pop(stack).toInt());
      const auto values = torch::jit::last(stack, count);
      const auto result = result_of(static_cast<Rule>(values[0].toInt()), values.slice(1)).count();
      torch::jit::drop(stack, count);
      if (result != 0) check_module_memory(kCopies * result);
    },
    c10::AliasAnalysisKind::CONSERVATIVE)});

void check_before(Node& node) {
  auto& graph = *node.owningGraph();
  const torch::jit::WithInsertPoint before(&node);
  const auto found = rules().find(node.kind().toUnqualString());
  const auto rule = found == rules().end() ? Rule::Sum : found->second;
  auto* inserted = graph.create(c10::Symbol::fromQualString("trt::check_growth"), 0);
  inserted->addInput(graph.insertConstant(static_cast<int64_t>(rule)));
  for (auto* operand : node.inputs()) inserted->addInput(operand);
  graph.insertNode(inserted);
}

}  // namespace

void check_growth(Graph& graph) {
  std::vector<Node*> found;
  for_each_node(graph, [&](Node& node) {
    if (may_grow(node)) found.push_back(&node);
  });
  for (auto* node : found) check_before(*node);
}

}  // namespace trtserve::torchscript
