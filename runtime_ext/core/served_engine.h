#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "core/completion_queue.h"
#include "core/engine.h"
#include "core/instance.h"
#include "core/stats.h"

namespace trtserve {

/// An engine with its queue and its instances. Every request that submit() accepts ends as exactly one
/// completion. Thread safe, but for stop(): one call at a time.
class ServedEngine final : private RequestHandler {
 public:
  ServedEngine(std::shared_ptr<Engine> engine, Forward forward, CompletionQueue& completions, Clock& clock);
  ~ServedEngine() override;
  ServedEngine(const ServedEngine&) = delete;
  ServedEngine& operator=(const ServedEngine&) = delete;

  const Engine& engine() const { return *engine_; }

  /// QueueFull, Unavailable; a refusal is counted, and the request is then still the caller's.
  void submit(Request&& request);

  /// Counts a request that was refused before it got this far.
  void count_refusal(Kind kind) { stats_.count(kind); }

  /// Ends a waiting request as Cancelled; false where it does not wait.
  bool cancel(Ticket ticket);

  /// Ends every waiting request whose deadline has come; the earliest deadline that is left.
  std::optional<TimePoint> expire(TimePoint now);

  /// Refuses new requests, finishes the accepted ones for up to `drain`, ends the rest as Unavailable, and
  /// waits for what runs: an execution cannot be interrupted. Every completion has been pushed afterwards.
  void stop(Nanoseconds drain);

  const RequestStats& stats() const { return stats_; }
  size_t queue_depth() const { return queue_.depth(); }
  size_t instances() const { return instance_count_; }
  size_t instances_busy() const { return busy_.load(std::memory_order_relaxed); }

 private:
  void handle(Request request, DeviceLane& lane) override;
  std::vector<NamedTensor> execute(Request& request, DeviceLane& lane);
  Failure failure(const std::exception& error) const;
  void close_one();
  void complete(Request request, Completion completion);
  void refuse(Request request, Kind kind, const std::string& message);
  void wait_until_idle(Nanoseconds at_most);

  const std::shared_ptr<Engine> engine_;
  const Forward forward_;
  CompletionQueue& completions_;
  Clock& clock_;
  const size_t instance_count_;
  RequestStats stats_;
  RequestQueue queue_;
  std::atomic<size_t> busy_{0};

  std::mutex open_mutex_;            // protects open_, so that stop() can wait for it to reach zero
  std::condition_variable drained_;  // open_ has reached zero
  size_t open_ = 0;                  // guarded by open_mutex_; accepted and not completed

  std::vector<std::unique_ptr<Instance>> instances_;  // last: their threads use everything above
};

}  // namespace trtserve
