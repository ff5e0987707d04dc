#include "backends/tensorrt/graph_cache.h"

#include <algorithm>

#include "core/error.h"
#include "core/log.h"

namespace trtserve::tensorrt {

namespace {

constexpr int kUsesBeforeCapture = 3;  // in auto: a capture costs some executions, and shapes may never come again

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
  // The engine fixes the ranks, so the sizes in a row tell shapes apart.
  Key key{profile};
  for (const auto& input : inputs) key.insert(key.end(), input.sizes().begin(), input.sizes().end());
  return key;
}

GraphCache::Slot& GraphCache::touch(const Key& key) {
  if (slots_.size() >= kMostGraphs && slots_.count(key) == 0) {
    slots_.erase(std::min_element(slots_.begin(), slots_.end(),
                                  [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; }));
  }
  auto& slot = slots_[key];
  slot.last_use = ++clock_;
  return slot;
}

GraphCache::Entry* GraphCache::find(const Key& key, const void* scratch) {
  const auto found = slots_.find(key);
  if (found == slots_.end() || !found->second.entry) return nullptr;
  auto& slot = touch(key);
  if (slot.entry->scratch != scratch) {
    slot.entry.reset();
    return nullptr;
  }
  return &*slot.entry;
}

bool GraphCache::is_worth(const Key& key, GraphMode mode) {
  return ++touch(key).uses >= (mode == GraphMode::On ? 1 : kUsesBeforeCapture);
}

void GraphCache::put(const Key& key, Entry entry) { touch(key).entry.emplace(std::move(entry)); }

}  // namespace trtserve::tensorrt
