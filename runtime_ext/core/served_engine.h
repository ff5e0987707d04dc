#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/batch_outputs.h"
#include "core/completion_queue.h"
#include "core/device_share.h"
#include "core/executions.h"
#include "core/failure_log.h"
#include "core/instance.h"
#include "core/stats.h"

namespace trtserve {

/// The objects that all served engines of a process share. Held by shared_ptr, since an instance that was left behind
/// still uses them.
struct Surroundings {
  std::shared_ptr<CompletionQueue> completions;
  std::shared_ptr<Clock> clock;
  std::shared_ptr<LeftBehind> left_behind = std::make_shared<LeftBehind>();
  Nanoseconds stuck_after = std::chrono::minutes(1);  ///< an execution that takes longer counts as stuck
};

/// An engine with its queue and its instances. Every request that submit() accepts ends as exactly one completion. Its
/// instances keep it alive, and so everything that they use, until they end. Thread safe, except that only one thread
/// may call stop() at a time.
class ServedEngine final : private BatchHandler {
 public:
  /// Starts the instances. `wake_by` schedules a call of on_time() no later than the given time; it must stay valid
  /// until stop() returns. InvalidInput if the engine cannot be batched as its options ask.
  static std::shared_ptr<ServedEngine> start(std::shared_ptr<Engine> engine, Forward forward,
                                             const Surroundings& surroundings, std::shared_ptr<DeviceShare> share,
                                             Executions::WakeBy wake_by);
  class Private {
    explicit Private() = default;
    friend class ServedEngine;
  };
  ServedEngine(Private, std::shared_ptr<Engine> engine, Forward forward, const Surroundings& surroundings,
               std::shared_ptr<DeviceShare> share, Executions::WakeBy wake_by);
  ~ServedEngine() override = default;
  ServedEngine(const ServedEngine&) = delete;
  ServedEngine& operator=(const ServedEngine&) = delete;

  const Engine& engine() const { return *engine_; }

  /// Checks a request's description of its inputs. InvalidInput if it does not fit the engine; refusals are counted.
  std::shared_ptr<const Signature> sign(const std::vector<TensorShape>& tensors);

  /// Queues a request. Throws QueueFull, Unavailable, or InvalidInput: a signature from an earlier load of the engine
  /// is checked anew. Refusals are counted; the request then still belongs to the caller.
  void submit(Request&& request);

  /// Ends a waiting request as Cancelled; false if it does not wait.
  bool cancel(Ticket ticket);

  /// Ends every waiting or executing request whose deadline has passed, and logs stuck and failed executions. Returns
  /// when to call it again.
  std::optional<TimePoint> on_time(TimePoint now);

  /// Refuses new requests, finishes the accepted ones for up to `drain`, and ends the rest as Unavailable. Every
  /// completion has been pushed when it returns. Interrupts and leaves behind executions that have not ended; returns
  /// their number.
  size_t stop(Nanoseconds drain);

  RequestNumbers stats() const { return stats_.snapshot(); }
  size_t queue_depth() const { return queue_.depth(); }
  size_t instances() const { return instance_count_; }
  /// The number of instances that execute or wait for a turn.
  size_t instances_busy() const { return busy_.load(std::memory_order_relaxed) + share_.asking(); }
  Stuck stuck() const { return executions_.stuck(clock_->glance()); }
  /// True if requests are joined: the options ask for it, and outputs could be divided so far.
  bool joins_requests() const { return joins_requests_; }
  /// The most items in a batch; 1: requests are not joined.
  int64_t max_items() const { return joins_requests_ ? rules_.max_items : 1; }
  /// Why the requests of an engine that may be batched are not; empty if they are, or if its options decide it.
  std::string why_not_joined() const;
  /// Joins no more requests from now on, for this reason.
  void stop_joining(std::string why);

 private:
  void start_instances(const std::shared_ptr<ServedEngine>& self);
  void sign_anew(Request& request);
  bool handle_next(DeviceLane& lane) override;
  void instance_ended() noexcept override { executions_.instance_ended(); }
  void run(Batch batch, DeviceLane& lane);
  bool run_part(Execution& execution, const Part& part, DeviceLane& lane, ExecutionTimes times, size_t& completed);
  void run_one_by_one(Execution& execution, DeviceLane& lane, size_t& completed);
  std::vector<Completion> completions_of(const Part& part, DeviceLane& lane, ExecutionTimes& times);
  std::vector<at::Tensor> execute(const Part& part, DeviceLane& lane, ExecutionTimes& times);
  void failed(const Failure& failure, TimePoint now);
  void batch_undivided();
  size_t end(const Part& part, std::vector<Completion> completions, const ExecutionTimes& times);
  std::string unloaded_before(const char* what) const;
  void refuse(Request request, Kind kind, const std::string& message);
  void refuse_expired(Request request);
  void end_early(const std::vector<Executions::Early>& early, Kind kind, const std::string& message);

  const uint64_t number_;  // unique to this object in the process
  const std::shared_ptr<Engine> engine_;
  const Forward forward_;
  const std::shared_ptr<CompletionQueue> completions_;
  const std::shared_ptr<Clock> clock_;
  const BatchRules rules_;
  const size_t instance_count_;
  const OutputNames output_names_;
  DeviceShare::Member share_;
  RequestStats stats_;
  FailureLog failures_;
  RequestQueue queue_;
  Executions executions_;
  std::atomic<size_t> busy_{0};
  std::atomic<bool> joins_requests_;
  mutable std::mutex why_mutex_;
  std::string why_not_joined_;  // guarded by why_mutex_

  std::vector<std::unique_ptr<Instance>> instances_;  // empty once stopped
};

}  // namespace trtserve
