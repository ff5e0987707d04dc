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

/// The graphs of one instance, by profile and input shapes: at most kMostGraphs, the least recently used goes
/// first. Not thread safe, and changed only while no graph of it runs.
class GraphCache {
 public:
  static constexpr size_t kMostGraphs = 16;

  using Key = std::vector<int64_t>;
  static Key key(int32_t profile, c10::ArrayRef<at::Tensor> inputs);

  /// A captured execution with all that it goes by: the memory that it was captured on, and a context of its own,
  /// since a graph is good only as long as nobody changes the context that it was captured from.
  struct Entry {
    std::unique_ptr<ProfileContext> context;
    std::vector<at::Tensor> inputs;
    std::vector<at::Tensor> outputs;
    void* scratch = nullptr;
    CudaGraph graph;
  };

  /// The graph for the key if it was captured with this scratch memory; another one is dropped.
  Entry* find(const Key& key, const void* scratch);

  /// Counts a use of the key without a graph; whether it is time to capture one.
  bool is_worth(const Key& key, GraphMode mode);

  void put(const Key& key, Entry entry);
  void clear() { slots_.clear(); }

 private:
  struct Slot {
    uint64_t last_use = 0;
    int uses = 0;
    std::optional<Entry> entry;  // nothing while the key is only counted
  };
  Slot& touch(const Key& key);

  std::map<Key, Slot> slots_;
  uint64_t clock_ = 0;  // counts uses
};

}  // namespace trtserve::tensorrt
