#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "core/batch_outputs.h"
#include "core/completion_queue.h"
#include "core/device_share.h"
#include "core/executions.h"
#include "core/failure_log.h"
#include "core/instance.h"
#include "core/stats.h"

namespace trtserve {

/// What the served engines of a process have in common. Shared, since an instance that was left behind still uses it.
struct Surroundings {
  std::shared_ptr<CompletionQueue> completions;
  std::shared_ptr<Clock> clock;
  std::shared_ptr<LeftBehind> left_behind = std::make_shared<LeftBehind>();
  Nanoseconds stuck_after = std::chrono::minutes(1);  ///< an execution that takes longer is said to be stuck
};

/// An engine with its queue and its instances. Every request that submit() accepts ends as exactly one
/// completion. Its instances keep it, and so all that they use, until they end. Thread safe, but for stop(): one call
/// at a time.
class ServedEngine final : private BatchHandler {
 public:
  /// Starts the instances. `wake_by` has on_time() called at that time at the latest; it is there until stop() returns.
  /// InvalidInput where the engine cannot be batched as its options ask.
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

  /// Checks what a request says of its inputs. InvalidInput; a refusal is counted.
  std::shared_ptr<const Signature> sign(const std::vector<TensorShape>& tensors);

  /// QueueFull, Unavailable; a refusal is counted, and the request is then still the caller's. A signature of a
  /// former life of the engine is checked anew: InvalidInput.
  void submit(Request&& request);

  /// Ends a waiting request as Cancelled; false where it does not wait.
  bool cancel(Ticket ticket);

  /// Ends every request whose deadline has come, whether it waits or executes, and tells the log what is to be told;
  /// when to be called again.
  std::optional<TimePoint> on_time(TimePoint now);

  /// Refuses new requests, finishes the accepted ones for up to `drain`, and ends the rest as Unavailable. Every
  /// completion has been pushed afterwards. Executions that have not ended are interrupted and left behind: their
  /// number.
  size_t stop(Nanoseconds drain);

  RequestNumbers stats() const { return stats_.snapshot(); }
  size_t queue_depth() const { return queue_.depth(); }
  size_t instances() const { return instance_count_; }
  /// Instances that execute, or wait for their turn.
  size_t instances_busy() const { return busy_.load(std::memory_order_relaxed) + share_.asking(); }
  Stuck stuck() const { return executions_.stuck(clock_->glance()); }
  /// Whether requests are joined: not where the options do not ask for it, nor once outputs could not be divided.
  bool joins_requests() const { return joins_requests_; }

 private:
  void start_instances(const std::shared_ptr<ServedEngine>& self);
  void sign_anew(Request& request);
  bool handle_next(DeviceLane& lane) override;
  void instance_ended() noexcept override { executions_.instance_ended(); }
  void run(Batch batch, DeviceLane& lane);
  bool run_part(Execution& execution, const Part& part, DeviceLane& lane, ExecutionTimes times, size_t& told);
  void run_one_by_one(Execution& execution, DeviceLane& lane, size_t& told);
  std::vector<Completion> answers(const Part& part, DeviceLane& lane, ExecutionTimes& times);
  std::vector<at::Tensor> execute(const Part& part, DeviceLane& lane, ExecutionTimes& times);
  void failed(const Failure& failure, TimePoint now);
  void batch_undivided();
  size_t end(const Part& part, std::vector<Completion> completions, const ExecutionTimes& times);
  std::string unloaded_before(const char* what) const;
  void refuse(Request request, Kind kind, const std::string& message);
  void refuse_expired(Request request);
  void end_early(const std::vector<Executions::Early>& early, Kind kind, const std::string& message);

  const uint64_t number_;  // of this object in the process
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

  std::vector<std::unique_ptr<Instance>> instances_;  // empty once stopped
};

}  // namespace trtserve
