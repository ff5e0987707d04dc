#include "core/context_pool.h"

#include <algorithm>

#include "core/error.h"

namespace trtserve {

ContextPool::ContextPool(std::vector<std::unique_ptr<ExecutionContext>> contexts) : contexts_(std::move(contexts)) {
  for (const auto& context : contexts_) free_.push_back(context.get());
  leased_.reserve(contexts_.size());
}

ContextPool::~ContextPool() { synchronize(); }

ContextPool::Lease ContextPool::acquire() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || !free_.empty(); });
  if (closed_) fail(Kind::NotFound, "the engine was unloaded");
  Lease lease(this, take_free());
  leased_.emplace_back(lease.context_, std::this_thread::get_id());
  return lease;
}

ExecutionContext* ContextPool::take_free() {
  // The context returned last is warm, but on an asynchronous device it may still be busy. Then prefer one whose work
  // is done, otherwise the one that has worked for longest.
  const auto idle = std::find_if(free_.rbegin(), free_.rend(), [](const auto* context) { return context->idle(); });
  const auto chosen = idle == free_.rend() ? free_.begin() : std::prev(idle.base());
  ExecutionContext* context = *chosen;
  free_.erase(chosen);
  return context;
}

void ContextPool::release(ExecutionContext* context) {
  const std::lock_guard lock(mutex_);
  std::erase_if(leased_, [&](const auto& lease) { return lease.first == context; });
  free_.push_back(context);
  changed_.notify_all();
}

bool ContextPool::close(Clock& clock, TimePoint deadline) {
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
  while (!leased_.empty() && clock.glance() < deadline) clock.wait_until(lock, changed_, deadline);
  for (const auto& lease : leased_) lease.first->interrupt();
  return leased_.empty();
}

void ContextPool::synchronize() {
  for (const auto& context : contexts_) context->synchronize();
}

size_t ContextPool::leased() const {
  const std::lock_guard lock(mutex_);
  return leased_.size();
}

void ContextPool::interrupt(std::thread::id thread) {
  const std::lock_guard lock(mutex_);
  for (const auto& lease : leased_) {
    if (lease.second == thread) lease.first->interrupt();
  }
}

}  // namespace trtserve
