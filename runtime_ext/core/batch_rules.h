#pragma once

#include <string>
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
  bool optional = false;  ///< nobody asked for batches: a request that fits in none runs alone
  std::string why_not;    ///< if optional: why requests are never joined; empty if they are

  bool joins() const { return max_items > 1; }
};

/// The value of BatchOptions::max_batch_size that leaves it open whether and how many requests are joined: as many as
/// the profiles take, where the tensors can be joined.
inline constexpr int64_t kAutoSize = 0;

/// The most items that are joined where the options leave it open and the profiles have no bound.
inline constexpr int64_t kAutoItems = 64;

/// InvalidInput, naming the tensor, if the engine cannot be batched as its options ask: a tensor lacks that dimension,
/// has a fixed size in it, or holds values that decide shapes; or if a number is out of range. Where the options leave
/// it open whether to join requests, such an engine has rules that join none, and say why.
BatchRules batch_rules(const Engine& engine);

}  // namespace trtserve
