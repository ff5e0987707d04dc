#pragma once

#include <vector>

#include "core/request.h"
#include "core/signal_queue.h"

namespace trtserve {

/// Carries completions from the worker threads to the event loop. Shared by all that push: an execution that was left
/// behind may end after the runtime has. Thread safe.
class CompletionQueue {
 public:
  void push(std::vector<Completion> completions) {
    queue_.push_with([&](std::vector<Completion>& all) {
      if (closed_) {
        // Nobody takes them any more, and a worker thread must not destroy an owner: so it stays for ever.
        for (auto& completion : completions) [[maybe_unused]]
          const auto* kept = completion.owner.release();
      } else {
        all.insert(all.end(), std::make_move_iterator(completions.begin()), std::make_move_iterator(completions.end()));
      }
    });
  }

  /// Everything since the last call; never blocks.
  std::vector<Completion> take() { return queue_.take(); }

  /// What comes from now on is dropped; what had come ends here, on the thread of who takes completions.
  void close() {
    queue_.push_with([&](std::vector<Completion>&) { closed_ = true; });
    take().clear();
  }

  int fd() const { return queue_.fd(); }

 private:
  SignalQueue<Completion> queue_;
  bool closed_ = false;  // guarded by the queue's lock, within push_with()
};

}  // namespace trtserve
