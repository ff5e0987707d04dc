#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "core/clock.h"
#include "core/request.h"
#include "core/signal_queue.h"

namespace trtserve {

/// Carries completions from the worker threads to the event loop. Shared by every thread that pushes: an abandoned
/// execution may end after the runtime does. Thread safe.
class CompletionQueue {
 public:
  /// `signal`: make the descriptor readable; otherwise the calling thread must call take_now() next.
  void push(std::vector<Completion> completions, bool signal = true) {
    waiting_bytes_ += output_bytes(completions);
    const auto add = [&](std::vector<Completion>& all) {
      if (closed_) {
        taken(output_bytes(completions));
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
  std::vector<Completion> take() { return counted(queue_.take()); }

  /// Like take(), but leaves the descriptor as it is, which saves a system call: if it is readable, it stays so.
  std::vector<Completion> take_now() { return counted(queue_.take_now()); }

  /// Blocks while outputs of kMostWaiting bytes wait to be taken. An instance calls it before each batch: otherwise the
  /// instances could run ahead of a busy event loop, and fill the memory with answers that nobody has counted yet.
  /// Returns after kPatience in any case, because whoever takes completions may be waiting for the instance.
  void wait_for_room(Clock& clock) {
    if (waiting_bytes_ < kMostWaiting) return;
    const TimePoint deadline = clock.now() + kPatience;
    std::unique_lock lock(room_mutex_);
    while (waiting_bytes_ >= kMostWaiting && clock.now() < deadline) clock.wait_until(lock, room_, deadline);
  }

  /// Drops later completions, and destroys those that wait, on the thread that takes completions.
  void close() {
    queue_.push_with([&](std::vector<Completion>&) { closed_ = true; });
    take().clear();
  }

  int fd() const { return queue_.fd(); }

 private:
  static constexpr size_t kMostWaiting = size_t{8} << 20;
  static constexpr std::chrono::seconds kPatience{1};

  static size_t output_bytes(const std::vector<Completion>& completions) {
    size_t bytes = 0;
    for (const auto& completion : completions) {
      for (const auto& output : completion.outputs) bytes += output.bytes;
    }
    return bytes;
  }

  std::vector<Completion> counted(std::vector<Completion> completions) {
    taken(output_bytes(completions));
    return completions;
  }

  void taken(size_t bytes) {
    if (waiting_bytes_.fetch_sub(bytes) < kMostWaiting) return;
    const std::lock_guard lock(room_mutex_);  // an instance has seen the new number, or waits already
    room_.notify_all();
  }

  SignalQueue<Completion> queue_;
  std::atomic<size_t> waiting_bytes_{0};  // of the outputs that wait to be taken
  std::mutex room_mutex_;                 // protects no data: see taken()
  std::condition_variable room_;
  bool closed_ = false;  // guarded by the queue's lock, within push_with()
};

}  // namespace trtserve
