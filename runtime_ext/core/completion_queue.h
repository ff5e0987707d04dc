#pragma once

#include <vector>

#include "core/request.h"
#include "core/signal_queue.h"

namespace trtserve {

/// Carries completions from the worker threads to the event loop. Shared by every thread that pushes: an abandoned
/// execution may end after the runtime does. Thread safe.
class CompletionQueue {
 public:
  /// `signal`: make the descriptor readable; otherwise the calling thread must call take_now() next.
  void push(std::vector<Completion> completions, bool signal = true) {
    const auto add = [&](std::vector<Completion>& all) {
      if (closed_) {
        // No reader remains, and a worker thread must not destroy an owner: so the owner is leaked.
        for (auto& completion : completions) [[maybe_unused]]
          const auto* kept = completion.owner.release();
      } else {
        all.insert(all.end(), std::make_move_iterator(completions.begin()), std::make_move_iterator(completions.end()));
      }
    };
    queue_.push_with(add, signal);
  }

  /// Returns the completions since the last call; never blocks.
  std::vector<Completion> take() { return queue_.take(); }

  /// Like take(), but leaves the descriptor as it is, which saves a system call: if it is readable, it stays so.
  std::vector<Completion> take_now() { return queue_.take_now(); }

  /// Drops later completions, and destroys those that wait, on the thread that takes completions.
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
