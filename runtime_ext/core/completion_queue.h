#pragma once

#include <mutex>
#include <vector>

#include "core/request.h"

namespace trtserve {

/// Carries completions from the worker threads to one reader, with an eventfd that is readable while any
/// wait. Thread safe.
class CompletionQueue {
 public:
  CompletionQueue();
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  void push(Completion completion);

  /// Everything since the last call; never blocks.
  std::vector<Completion> take();

  int fd() const { return fd_; }

 private:
  const int fd_;
  std::mutex mutex_;
  std::vector<Completion> completions_;  // guarded by mutex_
};

}  // namespace trtserve
