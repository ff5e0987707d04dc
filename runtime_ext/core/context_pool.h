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

/// The execution contexts of one engine. A lease holds one context for one thread; a context is leased
/// again only once the work that was enqueued through it is complete. Who holds a lease keeps the engine, and so the
/// pool. Thread safe.
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

  /// Blocks while every context is leased. NotFound once the pool is closed: its engine was unloaded.
  Lease acquire();

  /// Refuses new leases, wakes who waits for one, and blocks until every lease has ended; false where they have not by
  /// `deadline`: their executions have been interrupted then, and the pool goes with the last of them.
  bool close(Clock& clock, TimePoint deadline);

  /// Blocks until the work of all contexts is complete. To be called once every lease has ended.
  void synchronize();

  /// Interrupts what the context executes that `thread` has leased, if it has one.
  void interrupt(std::thread::id thread);

  size_t size() const { return contexts_.size(); }

 private:
  void release(ExecutionContext* context);
  ExecutionContext* take_free();

  const std::vector<std::unique_ptr<ExecutionContext>> contexts_;
  std::mutex mutex_;  // protects the free list; never held while a context works
  std::condition_variable changed_;
  std::vector<ExecutionContext*> free_;  // guarded by mutex_; in the order in which they came back
  std::vector<std::pair<ExecutionContext*, std::thread::id>> leased_;  // guarded by mutex_; the others
  bool closed_ = false;                                                // guarded by mutex_
};

}  // namespace trtserve
