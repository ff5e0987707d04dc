#pragma once

#include <vector>

#include "core/clock.h"
#include "core/engine.h"

namespace trtserve {

/// BatchOptions, checked against an engine's tensors.
struct BatchRules {
  int64_t max_items = 1;                 ///< 1: requests are never joined
  std::vector<int64_t> preferred;        ///< ascending, each at most max_items
  Nanoseconds max_delay{0};              ///< unless `adaptive`
  bool adaptive = false;                 ///< the delay adapts to the load, see BatchDelay
  Nanoseconds latency_target{0};         ///< if `adaptive`
  std::vector<int64_t> input_batch_dim;  ///< one per input; empty if requests are never joined
  std::vector<int64_t> output_batch_dim;

  bool joins() const { return max_items > 1; }
};

/// InvalidInput, naming the tensor, if the engine cannot be batched as its options ask: a tensor lacks that dimension,
/// has a fixed size in it, or holds values that decide shapes; or if a number is out of range.
BatchRules batch_rules(const Engine& engine);

}  // namespace trtserve
