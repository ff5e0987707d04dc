#include "core/context_pool.h"

#include <algorithm>

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
  Lease lease(this, take_free());
  lock.unlock();
  lease->synchronize();
  return lease;
}

ExecutionContext* ContextPool::take_free() {
  // The last that came back is warm, but on a device that works asynchronously it may be busy still: then one
  // whose work is done, and where there is none, the one that has been at it for longest.
  const auto idle = std::find_if(free_.rbegin(), free_.rend(), [](const auto* context) { return context->idle(); });
  const auto chosen = idle == free_.rend() ? free_.begin() : std::prev(idle.base());
  ExecutionContext* context = *chosen;
  free_.erase(chosen);
  return context;
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
