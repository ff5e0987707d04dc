#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/backend.h"

namespace trtserve {

/// The execution contexts of one engine. A lease holds one context for one thread; a context is leased
/// again only once the work that was enqueued through it is complete. Thread safe.
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
  ~ContextPool();
  ContextPool(const ContextPool&) = delete;
  ContextPool& operator=(const ContextPool&) = delete;

  /// Blocks while every context is leased. NotFound once the pool is closed: its engine was unloaded.
  Lease acquire();

  /// Refuses new leases, wakes who waits for one, and blocks until every lease has ended and its work is
  /// complete.
  void close();

  size_t size() const { return contexts_.size(); }

 private:
  void release(ExecutionContext* context);
  ExecutionContext* take_free();

  const std::vector<std::unique_ptr<ExecutionContext>> contexts_;
  std::mutex mutex_;  // protects the free list; never held while a context works
  std::condition_variable changed_;
  std::vector<ExecutionContext*> free_;  // guarded by mutex_; in the order in which they came back
  bool closed_ = false;                  // guarded by mutex_
};

}  // namespace trtserve
