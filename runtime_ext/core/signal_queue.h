#pragma once

#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "core/event_fd.h"

namespace trtserve {

/// Carries items from many threads to one reader, with an eventfd that is readable while items wait. Thread safe.
template <typename T>
class SignalQueue {
 public:
  /// Calls `add(items)` under the lock to append items: one wake-up serves everything until the next take(). Without
  /// `signal` there is none: the calling thread must call take_now() next, since later items signal only if none wait.
  template <typename Add>
  void push_with(const Add& add, bool signal = true) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      const bool was_empty = items_.empty();
      add(items_);
      first = was_empty && !items_.empty();
    }
    if (first && signal) event_.signal();
  }

  void push(std::vector<T> items) {
    push_with([&](std::vector<T>& all) {
      all.insert(all.end(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
    });
  }

  /// Returns the items since the last call; never blocks.
  std::vector<T> take() {
    // Reset first: a push after the swap below then finds the queue empty and wakes the reader again.
    event_.reset();
    return take_now();
  }

  /// Like take(), but leaves the eventfd readable if it is: the next take() then finds nothing.
  std::vector<T> take_now() {
    std::vector<T> taken;
    const std::lock_guard lock(mutex_);
    taken.swap(items_);
    return taken;
  }

  int fd() const { return event_.fd(); }

 private:
  EventFd event_;
  std::mutex mutex_;
  std::vector<T> items_;  // guarded by mutex_
};

}  // namespace trtserve
