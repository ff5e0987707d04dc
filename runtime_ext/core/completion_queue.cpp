#include "core/completion_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace trtserve {

CompletionQueue::CompletionQueue() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) fail(Kind::Unavailable, "no eventfd for completions: ", std::strerror(errno));
}

CompletionQueue::~CompletionQueue() { close(fd_); }

void CompletionQueue::push(Completion completion) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = completions_.empty();
    completions_.push_back(std::move(completion));
  }
  // One wake-up serves every completion until the next take(). The write cannot fail: the counter is far
  // from its end, since take() resets it.
  if (first) eventfd_write(fd_, 1);
}

std::vector<Completion> CompletionQueue::take() {
  // Reset first: a push after the swap below then finds the queue empty and wakes the reader again.
  eventfd_t ignored = 0;
  eventfd_read(fd_, &ignored);
  std::vector<Completion> taken;
  std::lock_guard lock(mutex_);
  taken.swap(completions_);
  return taken;
}

}  // namespace trtserve
