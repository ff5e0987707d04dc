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

/// When an engine's executions are captured: never, for recurring shapes, or for every shape.
enum class GraphMode { Off, Auto, On };

/// Accepts off, auto and on; InvalidInput for any other word.
GraphMode parse_graph_mode(const std::string& word);

/// Decides for all instances of an engine whether it may still use graphs. Thread safe.
class GraphPolicy {
 public:
  GraphPolicy(GraphMode mode, const CudaGraphApi& api, Counters& counters);

  GraphMode mode() const { return mode_; }
  bool enabled() const { return enabled_.load(std::memory_order_relaxed); }

  /// Turns graphs off permanently; logs the first reason.
  void disable(const std::string& engine, const std::string& reason);

 private:
  const GraphMode mode_;
  Counters& counters_;
  std::atomic<bool> enabled_;
};

/// The graphs of one instance, by profile and input shapes, and use counts of keys without a graph: at most kMostGraphs
/// and kMostCounted entries; each drops its least recently used entry first. Not thread safe; changed only while none
/// of its graphs runs.
class GraphCache {
 public:
  static constexpr size_t kMostGraphs = 16;
  static constexpr size_t kMostCounted = 256;

  using Key = std::vector<int64_t>;
  static Key key(int32_t profile, c10::ArrayRef<at::Tensor> inputs);

  /// A captured execution with everything it depends on: the memory that it was captured on, and its own context, since
  /// a graph is valid only while its context does not change. If no two contexts may use a profile, it uses the
  /// instance's context and `context` is null: it is then valid while that context has the same shapes.
  struct Entry {
    std::unique_ptr<ProfileContext> context;
    std::vector<at::Tensor> inputs;
    std::vector<at::Tensor> outputs;
    uint64_t scratch_generation = 0;
    CudaGraph graph;
  };

  /// Returns the key's graph if it was captured with this scratch memory; otherwise drops it.
  Entry* find(const Key& key, uint64_t scratch_generation);

  /// Counts a use of the key without a graph; returns true if it is time to capture one.
  bool is_worth_capturing(const Key& key, GraphMode mode);

  /// Adds a graph for a key that has none.
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
