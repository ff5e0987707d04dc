#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "backends/tensorrt/cuda_graph.h"
#include "backends/tensorrt/graph_policy.h"
#include "backends/tensorrt/profile_context.h"

namespace trtserve::tensorrt {

/// The graphs of one instance, by profile and input shapes: at most kMostGraphs. It counts how often each key is used,
/// with a graph or without, and admits a graph over another only if its key is used much more often: otherwise more
/// shapes than fit, one after the other, would make every execution a capture. Not thread safe; changed only while none
/// of its graphs runs.
class GraphCache {
 public:
  static constexpr size_t kMostGraphs = 16;
  static constexpr size_t kMostKeys = 256;    ///< that are counted
  static constexpr uint64_t kHalfLife = 512;  ///< in uses of any key: the counts are halved after as many

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
    CountedBytes memory;  ///< of the graph and its tensors
  };

  /// Counts a use of the key. Returns its graph if it was captured with this scratch memory; otherwise drops it.
  Entry* use(const Key& key, uint64_t scratch_generation);

  /// True if it is time to capture a graph for the key, which has none and was just used.
  bool admits(const Key& key, GraphMode mode) const;

  /// Adds an admitted key's graph; drops the one that is used least if there are too many.
  void put(const Key& key, Entry entry);

  bool empty() const { return graphs_ == 0; }
  /// Drops all graphs.
  void clear();

 private:
  struct Slot {
    uint64_t uses = 0;
    uint64_t last_use = 0;
    std::optional<Entry> graph;
  };
  using Slots = std::map<Key, Slot>;

  /// The slot that is used least among those with a graph, or those without. There is one.
  Slots::iterator coldest(bool with_graph);
  void drop(Slot& slot);

  Slots slots_;
  size_t graphs_ = 0;   // slots with a graph
  uint64_t clock_ = 0;  // counts uses
};

}  // namespace trtserve::tensorrt
