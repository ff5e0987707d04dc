#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/batch_rules.h"

namespace trtserve {

/// A tensor as a client describes it, without its data.
struct TensorShape {
  std::string name;
  std::string datatype;
  std::vector<int64_t> shape;
};

/// What a request is but for its bytes: checked once against its engine, and shared by all requests that are
/// alike. Immutable.
struct Signature {
  struct Input {
    std::string name;
    c10::ScalarType dtype;
    std::vector<int64_t> shape;
    size_t bytes;
  };

  uint64_t maker = 0;                ///< numbers the served engine that it was checked by
  std::vector<Input> inputs;         ///< in the engine's order
  std::vector<size_t> positions;     ///< of each tensor as the client lists them, its index in `inputs`
  int64_t items = 1;                 ///< along the batch dimension; 1 where the engine does not batch
  std::vector<int64_t> shape_class;  ///< two requests may be joined where this is the same
  /// How many items, from-to, the engine's profiles take in a batch of this shape; empty: any number.
  std::vector<std::pair<int64_t, int64_t>> item_ranges;

  bool takes(int64_t batch_items) const;
  /// The most items that a batch of this shape may have, and at most `limit`.
  int64_t most_items(int64_t limit) const;
};

/// Checks `tensors`, in any order. InvalidInput, naming the tensor, what came and what is allowed, for an unknown,
/// missing or repeated name, a wrong datatype, rank or shape, for inputs that no profile takes together, and for inputs
/// of different batch sizes.
Signature sign(const Engine& engine, const BatchRules& rules, const std::vector<TensorShape>& tensors);

}  // namespace trtserve
