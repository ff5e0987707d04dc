#pragma once

#include <atomic>
#include <cstdint>

namespace trtserve::tensorrt {

/// Counters of one engine's contexts, for monitoring. Thread safe.
struct Counters {
  std::atomic<int64_t> contexts_discarded{0};
  std::atomic<int64_t> cuda_graph_captures{0};
  std::atomic<int64_t> cuda_graph_replays{0};
  std::atomic<int64_t> cuda_graphs_disabled{0};  ///< 1 once graphs were turned off for the engine
  std::atomic<int64_t> scratch_bytes{0};         ///< of all instances
};

}  // namespace trtserve::tensorrt
