#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/clock.h"

namespace trtserve {

/// The execution contexts of one engine. A lease holds one context for one thread; contexts whose enqueued work is
/// complete are leased first. The holder of a lease keeps the engine alive, and so the pool. Thread safe.
class ContextPool {
 public:
  class Lease {
   public:
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), context_(other.context_) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (pool_ != nullptr) pool_->release(context_);
    }

    ExecutionContext* operator->() const { return context_; }

   private:
    friend class ContextPool;
    Lease(ContextPool* pool, ExecutionContext* context) : pool_(pool), context_(context) {}

    ContextPool* pool_;
    ExecutionContext* context_;
  };

  explicit ContextPool(std::vector<std::unique_ptr<ExecutionContext>> contexts);
  /// Waits for the work of contexts whose leases have ended.
  ~ContextPool();
  ContextPool(const ContextPool&) = delete;
  ContextPool& operator=(const ContextPool&) = delete;

  /// Blocks while every context is leased. NotFound after close(): the engine was unloaded.
  Lease acquire();

  /// Refuses new leases, wakes waiting threads, and blocks until every lease has ended. Returns false if some last
  /// beyond `deadline`: their executions have been interrupted, and the pool ends with the last lease.
  bool close(Clock& clock, TimePoint deadline);

  /// Blocks until the work of all contexts is complete. Call it once every lease has ended.
  void synchronize();

  /// Interrupts the execution in the context that `thread` has leased, if any.
  void interrupt(std::thread::id thread);

  size_t size() const { return contexts_.size(); }
  /// The number of contexts that are leased.
  size_t leased() const;

 private:
  void release(ExecutionContext* context);
  ExecutionContext* take_free();

  const std::vector<std::unique_ptr<ExecutionContext>> contexts_;
  mutable std::mutex mutex_;  // protects the free list; never held while a context works
  std::condition_variable changed_;
  std::vector<ExecutionContext*> free_;  // guarded by mutex_; in the order of their return
  std::vector<std::pair<ExecutionContext*, std::thread::id>> leased_;  // guarded by mutex_; with their threads
  bool closed_ = false;                                                // guarded by mutex_
};

}  // namespace trtserve
