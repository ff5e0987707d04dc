#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "backends/tensorrt/counters.h"
#include "backends/tensorrt/cuda_graph.h"
#include "backends/tensorrt/profile_context.h"

namespace trtserve::tensorrt {

/// When an engine's executions are captured: never, at shapes that come again, at every shape.
enum class GraphMode { Off, Auto, On };

/// InvalidInput for another word than off, auto and on.
GraphMode parse_graph_mode(const std::string& word);

/// Whether an engine may still use graphs, for all its instances. Thread safe.
class GraphPolicy {
 public:
  GraphPolicy(GraphMode mode, const CudaGraphApi& api, Counters& counters);

  GraphMode mode() const { return mode_; }
  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }

  /// For good; the first reason is logged.
  void disable(const std::string& engine, const std::string& reason);

 private:
  const GraphMode mode_;
  Counters& counters_;
  std::atomic<bool> enabled_;
};

/// The graphs of one instance, by profile and input shapes, and the uses of those that have none yet: at most
/// kMostGraphs and kMostCounted, the least recently used of each goes first. Not thread safe, and changed only
/// while no graph of it runs.
class GraphCache {
 public:
  static constexpr size_t kMostGraphs = 16;
  static constexpr size_t kMostCounted = 256;

  using Key = std::vector<int64_t>;
  static Key key(int32_t profile, c10::ArrayRef<at::Tensor> inputs);

  /// A captured execution with all that it goes by: the memory that it was captured on, and a context of its own,
  /// since a graph is good only as long as nobody changes the context that it was captured from. Where no two contexts
  /// may use a profile, that is the instance's, and `context` null: then it is good while that has the same shapes.
  struct Entry {
    std::unique_ptr<ProfileContext> context;
    std::vector<at::Tensor> inputs;
    std::vector<at::Tensor> outputs;
    uint64_t scratch_generation = 0;
    CudaGraph graph;
  };

  /// The graph for the key if it was captured with this scratch memory; another one is dropped.
  Entry* find(const Key& key, uint64_t scratch_generation);

  /// Counts a use of the key without a graph; whether it is time to capture one.
  bool is_worth(const Key& key, GraphMode mode);

  /// For a key that has none.
  void put(const Key& key, Entry entry);
  void clear() { graphs_.clear(); }

 private:
  struct Graph {
    Entry entry;
    uint64_t last_use;
  };
  struct Count {
    int uses = 0;
    uint64_t last_use = 0;
  };

  std::map<Key, Graph> graphs_;
  std::map<Key, Count> counts_;
  uint64_t clock_ = 0;  // counts uses
};

}  // namespace trtserve::tensorrt
