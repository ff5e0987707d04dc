#include "core/completion_queue.h"

namespace trtserve {

void CompletionQueue::push(Completion completion) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = completions_.empty();
    completions_.push_back(std::move(completion));
  }
  // One wake-up serves every completion until the next take().
  if (first) event_.signal();
}

std::vector<Completion> CompletionQueue::take() {
  // Reset first: a push after the swap below then finds the queue empty and wakes the reader again.
  event_.reset();
  std::vector<Completion> taken;
  std::lock_guard lock(mutex_);
  taken.swap(completions_);
  return taken;
}

}  // namespace trtserve
