#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "core/batch_rules.h"

namespace trtserve {

/// A client's description of a tensor, without its data.
struct TensorShape {
  std::string name;
  std::string datatype;
  std::vector<int64_t> shape;
};

/// How long executions of one request of a signature took lately. Thread safe.
class RecentTime {
 public:
  RecentTime() = default;
  // A copy starts anew: a signature is copied only before it is used.
  RecentTime(const RecentTime& /*other*/) {}
  RecentTime& operator=(const RecentTime&) = delete;

  /// Notes an execution.
  void took(std::chrono::nanoseconds time) {
    last_ns_.store(time.count(), std::memory_order_relaxed);
    quick_.store(time <= kQuick ? std::min(quick_.load(std::memory_order_relaxed) + 1, kTimes) : 0,
                 std::memory_order_relaxed);
  }

  /// True if the last few took at most kQuick each.
  bool is_quick() const { return quick_.load(std::memory_order_relaxed) == kTimes; }
  std::chrono::nanoseconds last() const { return std::chrono::nanoseconds(last_ns_.load(std::memory_order_relaxed)); }

 private:
  static constexpr std::chrono::microseconds kQuick{100};
  static constexpr int kTimes = 3;

  std::atomic<int64_t> last_ns_{0};
  std::atomic<int> quick_{0};  // how many in a row were quick, up to kTimes
};

/// All of a request except its data: checked once against its engine, and shared by all requests with the same
/// description. Immutable, except for `alone`.
struct Signature {
  struct Input {
    std::string name;
    c10::ScalarType dtype;
    std::vector<int64_t> shape;
    size_t bytes;       ///< of its tensor; a BYTES input's data has any length that check_data() accepts
    bool text = false;  ///< BYTES that must be UTF-8

    size_t elements() const { return bytes / c10::elementSize(dtype); }
    /// Throws InvalidInput unless data of this length can be the input's. `memory` is read only of a BYTES input; null:
    /// the data is not in memory.
    void check_data(const char* memory, size_t length) const;
  };

  uint64_t maker = 0;                ///< number of the served engine that checked it
  std::string called;                ///< the name by which the client calls the engine; empty: its own
  size_t number = 0;                 ///< of that name, where its requests are counted: see RequestStats
  std::vector<Input> inputs;         ///< in the engine's order
  std::vector<size_t> positions;     ///< for each tensor, in the client's order, its index in `inputs`
  int64_t items = 1;                 ///< along the batch dimension; 1 where the engine does not batch
  std::vector<int64_t> shape_class;  ///< two requests may be joined if these are equal
  /// The ranges of items, both ends included, that the profiles accept in a batch of this shape; empty: any number.
  std::vector<std::pair<int64_t, int64_t>> item_ranges;
  mutable RecentTime alone;  ///< of executions of one request

  bool takes(int64_t batch_items) const;
  /// The most items, up to `limit`, that a batch of this shape may have.
  int64_t most_items(int64_t limit) const;
};

/// Checks `tensors`, which may be in any order. InvalidInput, naming the tensor, what came and what is allowed, for an
/// unknown, missing or repeated name, a wrong datatype, rank or shape, inputs that no profile accepts together, or
/// different batch sizes.
Signature sign(const Engine& engine, const BatchRules& rules, const std::vector<TensorShape>& tensors);

}  // namespace trtserve
