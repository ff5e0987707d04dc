#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/executions.h"

namespace trtserve {

/// Runs batches on a worker thread, for an engine.
class BatchHandler {
 public:
  virtual ~BatchHandler() = default;
  /// Runs batches as this instance of the engine until no request waits for it: each request ends there, exactly once.
  virtual void serve(size_t instance) = 0;
};

/// The threads that the instances of a device's engines share: an instance has one only while requests wait for it. So
/// idle engines have no threads, and a busy one gets the thread that slept last, whose caches are warm.
///
/// An engine never waits for another's execution: if every thread is busy, another is started. If the system has no
/// more threads, the instance waits for the first that is free. A few idle threads are kept; further ones end once they
/// have been idle for a while, so that those of a burst are there for the next one.
///
/// Thread safe. Its threads share ownership of it, so that one whose execution does not end can be left behind.
class Workers : public std::enable_shared_from_this<Workers> {
 public:
  /// An instance that is to have a thread.
  struct Job {
    std::shared_ptr<BatchHandler> handler;   ///< let go before `executions` is told
    std::shared_ptr<Executions> executions;  ///< told when the instance no longer has the thread
    size_t instance = 0;
  };

  /// Keeps up to `idle` threads that have nothing to do, and more for kSpareFor.
  Workers(std::shared_ptr<Clock> clock, size_t idle) : clock_(std::move(clock)), most_idle_(idle) {}
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Starts the first thread, so that start() always finds one. Throws std::system_error if the system has none left.
  void prepare();

  /// Gives the instance a thread. Call prepare() once before.
  void start(Job job);

  /// Ends the idle threads, and waits for them; leaves those behind that still run an instance. No start() may follow,
  /// but another close().
  void close();

 private:
  static constexpr std::chrono::seconds kSpareFor{10};

  struct Worker {
    std::thread thread;
    std::condition_variable called;
    std::optional<Job> job;  // guarded by mutex_
    bool busy = false;       // guarded by mutex_: runs an instance
  };
  using Place = std::list<Worker>::iterator;

  Place add();
  void run(Place self);
  bool next(Place self, std::unique_lock<std::mutex>& lock);
  void wait_for_job(Place self, std::unique_lock<std::mutex>& lock);
  void end(Place self, std::unique_lock<std::mutex>& lock);

  const std::shared_ptr<Clock> clock_;
  const size_t most_idle_;
  std::mutex mutex_;           // protects all below; never held while an instance runs
  std::list<Worker> workers_;  // those that have not ended
  std::vector<Place> idle_;    // the one that became idle last is called first
  std::deque<Job> waiting_;    // for a thread
  std::thread ended_;          // the last that ended while others go on; the next to end joins it
  bool closed_ = false;
};

}  // namespace trtserve
