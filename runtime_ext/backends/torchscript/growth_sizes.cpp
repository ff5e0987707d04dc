#include "backends/torchscript/growth_sizes.h"

#include <algorithm>
#include <limits>

#include "core/graph_run.h"
#include "core/module_memory.h"

namespace trtserve::torchscript {

namespace {

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

Bytes bytes_of(Rule rule, Operands operands) {
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

}  // namespace

int64_t taken_by(Rule rule, Operands operands) { return bytes_of(rule, operands).count(); }

}  // namespace trtserve::torchscript
