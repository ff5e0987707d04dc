#include "core/context_pool.h"

#include "core/error.h"

namespace trtserve {

ContextPool::ContextPool(std::vector<std::unique_ptr<ExecutionContext>> contexts) : contexts_(std::move(contexts)) {
  for (const auto& context : contexts_) free_.push_back(context.get());
}

ContextPool::~ContextPool() { close(); }

ContextPool::Lease ContextPool::acquire() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !free_.empty(); });
  if (closed_) fail(Kind::NotFound, "the engine was unloaded");
  Lease lease(this, free_.back());
  free_.pop_back();
  lock.unlock();
  lease->synchronize();
  return lease;
}

void ContextPool::release(ExecutionContext* context) {
  // Notified under the lock: close() may destroy this pool as soon as it sees the last context return.
  std::lock_guard lock(mutex_);
  free_.push_back(context);
  changed_.notify_all();
}

void ContextPool::close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return free_.size() == contexts_.size(); });
  for (const auto& context : contexts_) context->synchronize();
}

}  // namespace trtserve
