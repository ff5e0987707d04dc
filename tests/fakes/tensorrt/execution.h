#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "device_block.h"
#include "flight.h"
#include "plan.h"
#include "stream.h"

namespace trtserve::fake::trt {

/// One execution as it was enqueued: shapes, addresses and host values are those of that moment, as in a captured
/// graph, which may run it again. Owns no memory that it works on. Thread safe.
class Execution : public std::enable_shared_from_this<Execution> {
 public:
  struct Setup {
    std::shared_ptr<const Plan> plan;
    std::vector<Shape> shapes;     ///< of the plan's tensors
    std::vector<void*> addresses;  ///< of the plan's tensors
    void* scratch = nullptr;
    int64_t scratch_bytes = 0;
    std::shared_ptr<DeviceBlock> weights;
    std::shared_ptr<DeviceBlock> persistent;  ///< the context's own memory
    std::shared_ptr<Flight> flight;
    std::shared_ptr<const std::atomic<uint64_t>> revision;  ///< of the context
  };

  explicit Execution(Setup setup) : setup_(std::move(setup)), revision_(*setup_.revision) {}

  /// To be called right before the work is enqueued, or a graph with it launched, on the stream. A breach where
  /// the context has been changed since enqueueV3.
  void begin(const char* function, const Stream& stream);

  /// Whether a graph with the work may be launched once more.
  bool may_launch();

  /// What the stream runs, once for each begin(). `replay`: as part of a graph.
  Work work(bool replay);

 private:
  void run(bool replay);
  void compute_outputs();
  void spoil_outputs();
  size_t bytes_of(size_t tensor) const;

  const Setup setup_;
  const uint64_t revision_;  // of the context when this was made
  std::mutex mutex_;
  bool launched_ = false;       // guarded by mutex_
  std::deque<uint64_t> begun_;  // guarded by mutex_; numbers of setup_.flight
};

}  // namespace trtserve::fake::trt
