#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "core/completion_queue.h"
#include "core/device_share.h"
#include "core/instance.h"
#include "core/stats.h"

namespace trtserve {

/// An engine with its queue and its instances. Every request that submit() accepts ends as exactly one
/// completion. Thread safe, but for stop(): one call at a time.
class ServedEngine final : private BatchHandler {
 public:
  /// InvalidInput where the engine cannot be batched as its options ask. All but the engine outlive this.
  ServedEngine(std::shared_ptr<Engine> engine, Forward forward, CompletionQueue& completions, DeviceShare& share,
               Clock& clock);
  ~ServedEngine() override;
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

  /// Ends every waiting request whose deadline has come; the earliest deadline that is left.
  std::optional<TimePoint> expire(TimePoint now);

  /// Refuses new requests, finishes the accepted ones for up to `drain`, ends the rest as Unavailable, and
  /// waits for what runs: an execution cannot be interrupted. Every completion has been pushed afterwards.
  void stop(Nanoseconds drain);

  RequestNumbers stats() const { return stats_.snapshot(); }
  size_t queue_depth() const { return queue_.depth(); }
  size_t instances() const { return instance_count_; }
  /// Instances that execute, or wait for their turn.
  size_t instances_busy() const { return busy_.load(std::memory_order_relaxed) + share_.asking(); }

 private:
  void sign_anew(Request& request);
  void handle(Batch batch, DeviceLane& lane) override;
  void run(Batch batch, DeviceLane& lane);
  void run_one_by_one(Batch batch, DeviceLane& lane);
  std::vector<Completion> answers(const Batch& batch, DeviceLane& lane, ExecutionTimes& times);
  std::vector<at::Tensor> execute(const Batch& batch, DeviceLane& lane, ExecutionTimes& times);
  void check_outputs(const Batch& batch, const std::vector<at::Tensor>& outputs) const;
  std::vector<Completion> scatter(const Batch& batch, std::vector<at::Tensor> outputs) const;
  void close_some(size_t requests);
  void end(Batch batch, std::vector<Completion> completions, const ExecutionTimes& times);
  static Completion complete(Request request, Completion completion);
  void refuse(Request request, Kind kind, const std::string& message);
  void refuse_expired(Request request);
  void wait_until_idle(Nanoseconds at_most);

  const uint64_t number_;  // of this object in the process
  const std::shared_ptr<Engine> engine_;
  const Forward forward_;
  CompletionQueue& completions_;
  Clock& clock_;
  const BatchRules rules_;
  const size_t instance_count_;
  const std::shared_ptr<const std::vector<std::string>> output_names_;
  DeviceShare::Member share_;
  RequestStats stats_;
  RequestQueue queue_;
  std::atomic<size_t> busy_{0};

  std::mutex open_mutex_;            // protects open_, so that stop() can wait for it to reach zero
  std::condition_variable drained_;  // open_ has reached zero
  size_t open_ = 0;                  // guarded by open_mutex_; accepted and not completed

  std::vector<std::unique_ptr<Instance>> instances_;  // last: their threads use everything above
};

}  // namespace trtserve
