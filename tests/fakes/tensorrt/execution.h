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

/// One enqueued execution: keeps the shapes, addresses and host values from its enqueue, like a captured graph, which
/// may run it again. Does not own the memory that it uses. Thread safe.
class Execution : public std::enable_shared_from_this<Execution> {
 public:
  struct Setup {
    std::shared_ptr<const Plan> plan;
    std::vector<Shape> shapes;     ///< one per tensor of the plan
    std::vector<void*> addresses;  ///< one per tensor of the plan
    void* scratch = nullptr;
    int64_t scratch_bytes = 0;
    std::shared_ptr<DeviceBlock> weights;
    std::shared_ptr<DeviceBlock> persistent;  ///< the context's own memory
    std::shared_ptr<Flight> flight;
    std::shared_ptr<const std::atomic<uint64_t>> revision;  ///< the context's
  };

  explicit Execution(Setup setup) : setup_(std::move(setup)), revision_(*setup_.revision) {}

  /// Call it right before the work is enqueued, or a graph with it launched, on the stream. Records a breach if the
  /// context has changed since enqueueV3.
  void begin(const char* function, const Stream& stream);

  /// True if a graph with the work may be launched again.
  bool may_launch();

  /// The work for the stream, to run once for each begin(). `replay`: as part of a graph.
  Work work(bool replay);

 private:
  void run(bool replay);
  void compute_outputs();
  void spoil_outputs();
  size_t bytes_of(size_t tensor) const;

  const Setup setup_;
  const uint64_t revision_;  // the context's when this was made
  std::mutex mutex_;
  bool launched_ = false;  // guarded by mutex_

  struct Begun {
    uint64_t number = 0;  // from setup_.flight
    int device = 0;
  };
  std::deque<Begun> begun_;  // guarded by mutex_
};

}  // namespace trtserve::fake::trt
