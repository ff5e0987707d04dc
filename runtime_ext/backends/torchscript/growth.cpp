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

/// How much memory an operator takes, from its operands.
enum class Rule : int64_t {
  Sum,      ///< as much as they do together: the most of a copy, a concatenation, a part
  Times,    ///< as much as they do, as often as the integer says
  Width,    ///< as many characters as the integer says
  Join,     ///< the strings of the list, and the separator between them
  Replace,  ///< the string, with the third one wherever the second one may be
  Text,     ///< the elements as text, at any depth
  Entries,  ///< an object for each character, or entry of a dictionary
  Nested,   ///< the elements of a tensor, and a list for each place of all its dimensions but the last
  Tensors,  ///< a tensor for each element of a list, or as many as the integer says
  Unbind,   ///< a tensor for each place of the dimension
  Chunk,    ///< as many tensors as the integer says, but no more than the dimension has places, if it has any
  Split,    ///< a tensor for as many places of the dimension as the integer says, or for each size in the list
  Element,  ///< twice as much as the first one, if it has no place for one more element
  Scratch,  ///< a few numbers for each element of a tensor, however few it has in memory
};

constexpr int64_t kElement = sizeof(c10::IValue);
constexpr int64_t kEntry = 96;      // bytes of a short string, a pair, an entry of a dictionary
constexpr int64_t kPiece = 300;     // bytes of a tensor without its elements
constexpr int64_t kList = 128;      // bytes of a list without its elements
constexpr int64_t kScratch = 24;    // bytes: a value with its index, and its place in a buffer
constexpr int64_t kNumber = 32;     // characters of a number, at most
constexpr int64_t kEscaped = 4;     // characters, at most, of one in a container's text
constexpr int64_t kTextCopies = 4;  // a stream doubles as it grows, and is then copied
constexpr int64_t kCopies = 2;      // operators copy strings before they use them

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

bool is_container(const torch::jit::Value* value) {
  const auto kind = value->type()->kind();
  return kind == c10::TypeKind::ListType || kind == c10::TypeKind::DictType || kind == c10::TypeKind::StringType;
}

/// True if an operator has the rule whether or not it returns a container.
bool takes_memory_for_tensors(Rule rule) { return rule == Rule::Scratch || rule == Rule::Tensors; }

/// That of a node that may take much.
Rule rule_of(const Node& node) {
  const std::string name = node.kind().toUnqualString();
  if (const auto found = rules().find(name); found != rules().end()) return found->second;
  if (name.rfind("fft_", 0) == 0) return Rule::Scratch;
  const auto returns_tensors = [](const torch::jit::Value* output) {
    const auto list = output->type()->cast<c10::ListType>();
    return list && list->getElementType()->kind() == c10::TypeKind::TensorType;
  };
  const auto outputs = node.outputs();
  const bool is_copy = name == "add" || name == "add_" || name == "copy" || name == "slice" || name == "values";
  return !is_copy && std::any_of(outputs.begin(), outputs.end(), returns_tensors) ? Rule::Tensors : Rule::Sum;
}

bool may_grow(const Node& node) {
  const std::string name = node.kind().toUnqualString();
  if (node.kind().is_prim()) return name == "tolist" || name == "rangelist";
  if (!node.kind().is_aten() || small().count(name) != 0) return false;
  const auto found = rules().find(name);
  const bool is_listed = found != rules().end() && takes_memory_for_tensors(found->second);
  const bool is_fft = name.rfind("fft_", 0) == 0;
  const auto outputs = node.outputs();
  return is_listed || is_fft || changes().count(name) != 0 || std::any_of(outputs.begin(), outputs.end(), is_container);
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
    count_ = std::min(count_, kMost);
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
  if (value.isTensor() && value.toTensor().defined()) return value.toTensor().numel();
  return 0;
}

int64_t bytes_of_element(const c10::IValue& container) {
  if (container.isString()) return kCopies;
  return container.isGenericDict() ? kEntry : kElement;
}

/// Counts the characters of a value's text, at most. A list may hold one list many times, at each of many depths: so it
/// asks on the way.
class Text {
 public:
  void add(const c10::IValue& value) {
    if (++values_ % kAskEvery == 0) go_on();
    if (value.isString()) return characters_.add(kEscaped, length(value));
    if (value.isTensor()) return characters_.add(kNumber, 1 + length(value));
    characters_.add(kNumber);
    if (value.isObject()) characters_.add(1, static_cast<int64_t>(value.toObjectRef().name().size()));
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
    check_module_memory(kTextCopies * characters_.count());
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
  bytes.add(kCopies * length(separator), length(strings));
  for (const auto& string : strings.toListRef()) bytes.add(kCopies, length(string));
  return bytes;
}

Bytes replaced(const c10::IValue& text, const c10::IValue& old, const c10::IValue& by) {
  Bytes bytes;
  bytes.add(kCopies, length(text));
  int64_t found = 0;
  const auto& in = text.toStringRef();
  const auto& what = old.toStringRef();
  if (what.empty()) found = length(text) + 1;
  for (auto at = in.find(what); !what.empty() && at != std::string::npos; at = in.find(what, at + what.size())) ++found;
  bytes.add(kCopies * length(by), found);
  return bytes;
}

Bytes text_of(Operands operands) {
  Text text;
  for (const auto& operand : operands) text.add(operand);
  Bytes bytes;
  bytes.add(kTextCopies, text.characters().count());
  return bytes;
}

/// An object for each character of a string and each entry of a dictionary.
Bytes entries_of(Operands operands) {
  Bytes bytes;
  for (const auto& operand : operands) bytes.add(operand.isList() ? kElement : kEntry, length(operand));
  return bytes;
}

/// A tensor that can say how large it is: a nested one cannot.
bool has_sizes(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && !value.toTensor().is_nested();
}

Bytes nested(const c10::IValue& tensor) {
  Bytes bytes;
  if (!has_sizes(tensor)) return bytes;
  int64_t lists = 1;
  for (const int64_t size : tensor.toTensor().sizes()) {
    bytes.add(kList, lists);
    if (__builtin_mul_overflow(lists, size, &lists)) lists = std::numeric_limits<int64_t>::max();
  }
  bytes.add(kElement, lists);
  return bytes;
}

Bytes tensors_of(Operands operands) {
  Bytes bytes;
  for (const auto& operand : operands) {
    if (operand.isList()) bytes.add(kPiece, length(operand));
  }
  bytes.add(kPiece, integer_in(operands));
  return bytes;
}

/// Places of the dimension that the operand `dim` names; 0 if it has none, which the operator itself refuses.
int64_t places(const c10::IValue& tensor, const c10::IValue& dim) {
  if (!has_sizes(tensor) || !dim.isInt()) return 0;
  const auto sizes = tensor.toTensor().sizes();
  const auto count = static_cast<int64_t>(sizes.size());
  const auto at = dim.toInt() < 0 ? dim.toInt() + count : dim.toInt();
  return at >= 0 && at < count ? sizes[static_cast<size_t>(at)] : 0;
}

/// Tensors that an operator cuts another one into.
Bytes pieces_of(Rule rule, Operands operands) {
  if (!operands[0].isTensor()) return entries_of(operands);  // split() of a string
  Bytes bytes;
  const auto there = places(operands[0], operands.back());
  if (rule == Rule::Unbind) {
    bytes.add(kPiece, there);
  } else if (operands[1].isList()) {
    bytes.add(kPiece, length(operands[1]));
  } else if (operands[1].isInt()) {
    const auto number = std::max<int64_t>(operands[1].toInt(), 1);
    bytes.add(kPiece, rule == Rule::Split ? there / number + 1 : there == 0 ? number : std::min(number, there));
  }
  return bytes;
}

Bytes scratch_of(Operands operands) {
  Bytes bytes;
  for (const auto& operand : operands) {
    if (has_sizes(operand)) bytes.add(kScratch, operand.toTensor().numel());
  }
  return bytes;
}

Bytes doubled(const c10::IValue& container) {
  Bytes bytes;
  const auto count = length(container);
  if (count >= kLarge && count % kAskEvery == 0) bytes.add(2 * bytes_of_element(container), count);
  return bytes;
}

Bytes taken_by(Rule rule, Operands operands) {
  Bytes bytes;
  switch (rule) {
    case Rule::Sum:
      return sum_of(operands);
    case Rule::Times:
      bytes.add(std::max(sum_of(operands).count(), kElement), integer_in(operands));
      return bytes;
    case Rule::Width:
      bytes = sum_of(operands);
      bytes.add(kCopies, integer_in(operands));
      return bytes;
    case Rule::Join:
      return joined(operands[0], operands[1]);
    case Rule::Replace:
      return replaced(operands[0], operands[1], operands[2]);
    case Rule::Text:
      return text_of(operands);
    case Rule::Entries:
      return entries_of(operands);
    case Rule::Nested:
      return nested(operands[0]);
    case Rule::Tensors:
      return tensors_of(operands);
    case Rule::Unbind:
    case Rule::Chunk:
    case Rule::Split:
      return pieces_of(rule, operands);
    case Rule::Element:
      return doubled(operands[0]);
    case Rule::Scratch:
      return scratch_of(operands);
  }
  return bytes;
}

/// The number of operands comes last, as of every operator that takes any number of them.
const torch::jit::RegisterOperators check({torch::jit::Operator(
    "trt::check_growth(int rule, ...) -> ()",
    [](Stack& stack) {
      const auto count = static_cast<size_t>(torch::jit::pop(stack).toInt());
      const auto values = torch::jit::last(stack, count);
      const auto bytes = taken_by(static_cast<Rule>(values[0].toInt()), values.slice(1)).count();
      torch::jit::drop(stack, count);
      if (bytes != 0) check_module_memory(bytes);
    },
    c10::AliasAnalysisKind::CONSERVATIVE)});

void check_before(Node& node) {
  auto& graph = *node.owningGraph();
  const torch::jit::WithInsertPoint before(&node);
  const auto rule = rule_of(node);
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
