#include "backends/torchscript/fork_threads.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <ATen/ThreadLocalState.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "backends/torchscript/current_stream.h"

namespace trtserve::torchscript {

namespace {

constexpr size_t kMostThreads = 64;

/// Threads that are made when tasks need them, and kept. Thread safe.
class ForkThreads {
 public:
  /// Takes the task, unless all threads are busy and there can be no more.
  bool take(std::function<void()>& task) {
    const std::lock_guard lock(mutex_);
    if (idle_ <= tasks_.size() && !add_thread()) return false;
    tasks_.push_back(std::move(task));
    came_.notify_one();
    return true;
  }

  static ForkThreads& get() {
    // Never destroyed: its threads last until the process ends.
    static ForkThreads& threads = *std::make_unique<ForkThreads>().release();
    return threads;
  }

 private:
  /// Called with mutex_ held.
  bool add_thread() {
    if (threads_ == kMostThreads) return false;
    try {
      std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {
      return false;
    }
    ++threads_;
    ++idle_;
    return true;
  }

  [[noreturn]] void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      came_.wait(lock, [this] { return !tasks_.empty(); });
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      --idle_;
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
      ++idle_;
    }
  }

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_; each has an idle thread
  size_t threads_ = 0;                       // guarded by mutex_
  size_t idle_ = 0;                          // guarded by mutex_; those that will soon run a task included
};

}  // namespace

void launch(std::function<void()> task) {
  const auto stream = current_stream();
  std::function<void()> in_our_state = [task = std::move(task), stream, state = at::ThreadLocalState()] {
    const at::ThreadLocalStateGuard same_state(state);
    // Nothing to optimize: an executor would profile the graphs of forks.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    const c10::OptionalStreamGuard same_stream(stream);
    task();
  };
  if (!ForkThreads::get().take(in_our_state)) in_our_state();
}

void run_here(std::function<void()> task) { task(); }  // NOLINT(performance-unnecessary-value-param): torch's signature

}  // namespace trtserve::torchscript
