#pragma once

#include <vector>

#include "core/clock.h"
#include "core/engine.h"

namespace trtserve {

/// BatchOptions, checked against an engine's tensors.
struct BatchRules {
  int64_t max_items = 1;                 ///< 1: requests are never joined
  std::vector<int64_t> preferred;        ///< ascending, each at most max_items
  Nanoseconds max_delay{0};              ///< without `adaptive`
  bool adaptive = false;                 ///< the delay is what pays, see BatchDelay
  Nanoseconds latency_target{0};         ///< with `adaptive`
  std::vector<int64_t> input_batch_dim;  ///< one an input; empty where requests are never joined
  std::vector<int64_t> output_batch_dim;

  bool joins() const { return max_items > 1; }
};

/// InvalidInput, naming the tensor, where the engine cannot be batched as its options ask: a tensor has no such
/// dimension, or one of fixed size, or holds values that decide shapes; or where a number is out of its range.
BatchRules batch_rules(const Engine& engine);

}  // namespace trtserve
