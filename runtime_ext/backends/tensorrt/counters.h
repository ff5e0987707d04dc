#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace trtserve::tensorrt {

/// Bytes that count in a total while this exists. Movable; not thread safe, though its total is.
class CountedBytes {
 public:
  CountedBytes() = default;
  CountedBytes(std::atomic<int64_t>& total, int64_t bytes) : total_(&total), bytes_(bytes) { total += bytes; }
  CountedBytes(CountedBytes&& other) noexcept
      : total_(std::exchange(other.total_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  CountedBytes& operator=(CountedBytes&& other) noexcept {
    std::swap(total_, other.total_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  CountedBytes(const CountedBytes&) = delete;
  CountedBytes& operator=(const CountedBytes&) = delete;
  ~CountedBytes() {
    if (total_ != nullptr) *total_ -= bytes_;
  }

 private:
  std::atomic<int64_t>* total_ = nullptr;
  int64_t bytes_ = 0;
};

/// Counters of one engine's contexts, for monitoring. Thread safe.
struct Counters {
  std::atomic<int64_t> contexts_discarded{0};
  std::atomic<int64_t> cuda_graph_captures{0};
  std::atomic<int64_t> cuda_graph_replays{0};
  std::atomic<int64_t> cuda_graphs_disabled{0};  ///< 1 once graphs were turned off for the engine
  std::atomic<int64_t> scratch_bytes{0};         ///< of all instances
  std::atomic<int64_t> context_bytes{0};         ///< of all execution contexts, without scratch memory
  std::atomic<int64_t> graph_bytes{0};           ///< of all graphs, their fixed inputs and outputs included
};

}  // namespace trtserve::tensorrt
