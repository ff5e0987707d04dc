#include "backends/tensorrt/graph_cache.h"

#include <algorithm>
#include <tuple>

namespace trtserve::tensorrt {

namespace {

constexpr uint64_t kUsesBeforeCapture = 3;  // in auto: a capture costs several executions, and shapes may never recur
constexpr uint64_t kMuchMore = 2;           // how many times a graph's uses a key needs to take its place

}  // namespace

GraphCache::Key GraphCache::key(int32_t profile, c10::ArrayRef<at::Tensor> inputs) {
  // The engine fixes the ranks, so the concatenated sizes identify the shapes.
  Key key{profile};
  for (const auto& input : inputs) key.insert(key.end(), input.sizes().begin(), input.sizes().end());
  return key;
}

GraphCache::Entry* GraphCache::use(const Key& key, uint64_t scratch_generation) {
  if (++clock_ % kHalfLife == 0) {
    for (auto& [unused, slot] : slots_) slot.uses /= 2;
  }
  if (slots_.size() >= kMostKeys && slots_.count(key) == 0) slots_.erase(coldest(/*with_graph=*/false));
  auto& slot = slots_[key];
  ++slot.uses;
  slot.last_use = clock_;
  if (slot.graph && slot.graph->scratch_generation != scratch_generation) drop(slot);
  return slot.graph ? &*slot.graph : nullptr;
}

bool GraphCache::admits(const Key& key, GraphMode mode) const {
  const auto& slot = slots_.at(key);
  if (mode == GraphMode::Auto && slot.uses < kUsesBeforeCapture) return false;
  if (graphs_ < kMostGraphs) return true;
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& other) {
    return other.second.graph && slot.uses > kMuchMore * std::max<uint64_t>(other.second.uses, 1);
  });
}

void GraphCache::put(const Key& key, Entry entry) {
  if (graphs_ == kMostGraphs) drop(coldest(/*with_graph=*/true)->second);
  slots_.at(key).graph.emplace(std::move(entry));
  ++graphs_;
}

void GraphCache::clear() {
  for (auto& [unused, slot] : slots_) {
    if (slot.graph) drop(slot);
  }
}

GraphCache::Slots::iterator GraphCache::coldest(bool with_graph) {
  // Slots of the other kind compare as greater.
  return std::min_element(slots_.begin(), slots_.end(), [with_graph](const auto& a, const auto& b) {
    const auto rank = [with_graph](const Slot& slot) {
      return std::make_tuple(slot.graph.has_value() != with_graph, slot.uses, slot.last_use);
    };
    return rank(a.second) < rank(b.second);
  });
}

void GraphCache::drop(Slot& slot) {
  slot.graph.reset();
  --graphs_;
}

}  // namespace trtserve::tensorrt
