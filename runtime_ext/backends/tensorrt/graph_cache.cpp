#include "backends/tensorrt/graph_cache.h"

#include <algorithm>

#include "core/error.h"
#include "core/log.h"

namespace trtserve::tensorrt {

namespace {

constexpr int kUsesBeforeCapture = 3;  // in auto: a capture costs several executions, and shapes may never recur

/// Drops the least recently used entry if a new key would exceed `most`.
template <typename ByKey>
void make_room(ByKey& by_key, const GraphCache::Key& key, size_t most) {
  if (by_key.size() < most || by_key.count(key) != 0) return;
  by_key.erase(std::min_element(by_key.begin(), by_key.end(),
                                [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; }));
}

}  // namespace

GraphMode parse_graph_mode(const std::string& word) {
  if (word == "off") return GraphMode::Off;
  if (word == "auto") return GraphMode::Auto;
  if (word == "on") return GraphMode::On;
  fail(Kind::InvalidInput, "cuda_graphs is '", word, "'; allowed are off, auto and on");
}

GraphPolicy::GraphPolicy(GraphMode mode, const CudaGraphApi& api, Counters& counters)
    : mode_(mode), counters_(counters), enabled_(mode != GraphMode::Off && api.available()) {}

void GraphPolicy::disable(const std::string& engine, const std::string& reason) {
  if (!enabled_.exchange(false)) return;
  counters_.cuda_graphs_disabled = 1;
  log(Severity::Warning, "tensorrt", c10::str("CUDA graphs are off for ", engine, ": ", reason));
}

GraphCache::Key GraphCache::key(int32_t profile, c10::ArrayRef<at::Tensor> inputs) {
  // The engine fixes the ranks, so the concatenated sizes identify the shapes.
  Key key{profile};
  for (const auto& input : inputs) key.insert(key.end(), input.sizes().begin(), input.sizes().end());
  return key;
}

GraphCache::Entry* GraphCache::find(const Key& key, uint64_t scratch_generation) {
  const auto found = graphs_.find(key);
  if (found == graphs_.end()) return nullptr;
  if (found->second.entry.scratch_generation != scratch_generation) {
    graphs_.erase(found);
    return nullptr;
  }
  found->second.last_use = ++clock_;
  return &found->second.entry;
}

bool GraphCache::is_worth_capturing(const Key& key, GraphMode mode) {
  make_room(counts_, key, kMostCounted);
  auto& count = counts_[key];
  count.last_use = ++clock_;
  return ++count.uses >= (mode == GraphMode::On ? 1 : kUsesBeforeCapture);
}

void GraphCache::put(const Key& key, Entry entry) {
  make_room(graphs_, key, kMostGraphs);
  graphs_.emplace(key, Graph{std::move(entry), ++clock_});
}

}  // namespace trtserve::tensorrt
