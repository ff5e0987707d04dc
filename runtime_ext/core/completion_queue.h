#pragma once

#include <mutex>
#include <vector>

#include "core/event_fd.h"
#include "core/request.h"

namespace trtserve {

/// Carries completions from the worker threads to one reader, with an eventfd that is readable while any
/// wait. Thread safe.
class CompletionQueue {
 public:
  void push(Completion completion);

  /// Everything since the last call; never blocks.
  std::vector<Completion> take();

  int fd() const { return event_.fd(); }

 private:
  EventFd event_;
  std::mutex mutex_;
  std::vector<Completion> completions_;  // guarded by mutex_
};

}  // namespace trtserve
