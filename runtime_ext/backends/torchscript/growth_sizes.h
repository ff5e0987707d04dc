#pragma once

#include <cstdint>

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>

namespace trtserve::torchscript {

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

using Operands = c10::ArrayRef<c10::IValue>;

/// Bytes that an operator with the rule is about to take, at most; 0: little. Unavailable, or Cancelled, if it ends
/// early because of them or because nobody wants the execution any more.
int64_t taken_by(Rule rule, Operands operands);

}  // namespace trtserve::torchscript
