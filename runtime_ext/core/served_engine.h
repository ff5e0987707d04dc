#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/batch_outputs.h"
#include "core/completion_queue.h"
#include "core/executions.h"
#include "core/failure_log.h"
#include "core/served_calls.h"
#include "core/served_replicas.h"
#include "core/stats.h"

namespace trtserve {

/// Runs an engine's wrapper on its inputs and returns its outputs. Sets `calls` to the calls that a module made, also
/// if it throws. Called by several threads concurrently.
using Forward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs,
                                                      std::shared_ptr<const MadeCalls>& calls)>;

/// The objects that all served engines of a process share. Held by shared_ptr, since an instance that was left behind
/// still uses them.
struct Surroundings {
  std::shared_ptr<CompletionQueue> completions;
  std::shared_ptr<Clock> clock;
  std::shared_ptr<LeftBehind> left_behind = std::make_shared<LeftBehind>();
  Nanoseconds stuck_after = std::chrono::minutes(1);  ///< an execution that takes longer counts as stuck
};

/// An engine with its queue and its instances, on one device or several. A replica whose device has died gives its
/// requests to the others; if there is no other, they fail. Every request that submit() accepts ends as exactly one
/// completion. An instance that has a thread keeps it alive, and so everything that it uses, until it gives the thread
/// up. Held by shared_ptr. Thread safe, except that only one thread may call stop() at a time.
class ServedEngine final : public BatchHandler, public std::enable_shared_from_this<ServedEngine> {
 public:
  /// `parts`: of each replica's device. `wake_by` schedules a call of on_time() no later than the given time; it must
  /// stay valid until stop() returns. InvalidInput if the engine cannot be batched as its options ask;
  /// std::system_error if it cannot have a thread. It goes on counting in `former`.
  ServedEngine(std::shared_ptr<Engine> engine, Forward forward, const Surroundings& surroundings,
               const std::vector<DevicePart>& parts, Executions::WakeBy wake_by, Counts former = {});
  ~ServedEngine() override = default;
  ServedEngine(const ServedEngine&) = delete;
  ServedEngine& operator=(const ServedEngine&) = delete;

  const Engine& engine() const { return *engine_; }

  /// From now on, the engine's calls count in its statistics and on its devices. Call it once.
  void count_calls() { engine_->count_calls(std::shared_ptr<CallCounter>(shared_from_this(), &calls_)); }

  /// Checks a request's description of its inputs. InvalidInput if it does not fit the engine; refusals are counted.
  /// `called`: the name by which the client calls the engine; empty: its own.
  std::shared_ptr<const Signature> sign(const std::vector<TensorShape>& tensors, const std::string& called);

  /// Queues a request. Throws QueueFull, Unavailable, or InvalidInput: a signature from an earlier load of the engine
  /// is checked anew. Refusals are counted; the request then still belongs to the caller.
  ///
  /// With `may_hold`, a request that finds the engine idle and is known to take little time may be held: submit() then
  /// returns true, and the caller runs it with run_held(), soon and on this thread.
  bool submit(Request&& request, bool may_hold = false);

  /// Runs the held request on the calling thread, unless others have come meanwhile, which a worker thread runs with
  /// it. Its completion makes the completion queue's descriptor no more readable than it is.
  void run_held();

  /// Ends a waiting request as Cancelled; false if it does not wait.
  bool cancel(Ticket ticket);

  /// Ends every waiting or executing request whose deadline has passed, and logs stuck and failed executions. Returns
  /// when to call it again.
  std::optional<TimePoint> on_time(TimePoint now);

  /// Refuses new requests, finishes the accepted ones for up to `drain`, and ends the rest as Unavailable. Every
  /// completion has been pushed when it returns. Interrupts and leaves behind executions that have not ended; returns
  /// their number.
  size_t stop(Nanoseconds drain);

  std::vector<NamedNumbers> stats() const { return stats_.snapshot(); }
  /// The backend's counters, in which its former lives count, and gauges.
  std::map<std::string, int64_t> counters() const;
  /// What the engine's next life goes on counting in.
  Counts counts() const;
  /// From now on this one serves in place of `former`, whose requests it counts with already, and whose backend counts
  /// in it.
  void follow(const ServedEngine& former);
  /// Takes over what the backend of `former`, which has ended, counted last, if this one follows it.
  void former_ended(const ServedEngine& former);
  /// The accepted requests that have not ended.
  size_t open_requests() const { return executions_->open(); }
  /// How long ago a request was submitted or a call began last, or, before the first, the engine was loaded.
  Nanoseconds unused_for() const { return clock_->glance() - last_used(); }
  /// When that was.
  TimePoint last_used() const { return std::max(last_used_.load(std::memory_order_relaxed), calls_.last()); }
  size_t queue_depth() const { return queue_.depth(); }
  size_t instances() const { return replicas_.instances(); }
  /// The contexts that are in use, by requests or by operators.
  size_t leases() const { return engine_->leased(); }
  /// The number of instances that execute or wait for a turn.
  size_t instances_busy() const { return busy_.load(std::memory_order_relaxed) + replicas_.asking(); }
  Stuck stuck() const { return executions_->stuck(clock_->glance()); }
  /// True if requests are joined: the options ask for it, and outputs could be divided so far.
  bool joins_requests() const { return joins_requests_; }
  /// The most items in a batch; 1: requests are not joined.
  int64_t max_items() const { return joins_requests_ ? rules_.max_items : 1; }
  /// Why the requests of an engine that may be batched are not; empty if they are, or if its options decide it.
  std::string why_not_joined() const;
  /// Joins no more requests from now on, for this reason.
  void stop_joining(std::string why);

 private:
  void call(std::optional<size_t> instance);
  void sign_anew(Request& request);
  void serve(size_t instance) override;
  void handle(Batch batch, DeviceLane& lane, bool held);
  void run(Batch batch, DeviceLane& lane, bool held);
  bool run_part(Execution& execution, const Part& part, DeviceLane& lane, ExecutionTimes times, size_t& completed,
                bool may_move);
  void run_one_by_one(Execution& execution, DeviceLane& lane, size_t& completed);
  std::vector<Completion> completions_of(const Part& part, DeviceLane& lane, ExecutionTimes& times,
                                         std::shared_ptr<const MadeCalls>& calls);
  std::vector<at::Tensor> execute(const Part& part, DeviceLane& lane, ExecutionTimes& times,
                                  std::shared_ptr<const MadeCalls>& calls);
  void failed(const Failure& failure, TimePoint now);
  void batch_undivided();
  size_t end(const Part& part, std::vector<Completion> completions, const ExecutionTimes& times, bool held);
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
  const OutputNames output_names_;
  ServedReplicas replicas_;
  const std::shared_ptr<RequestStats> requests_;
  RequestStats& stats_;  // *requests_
  mutable std::mutex former_mutex_;
  std::map<std::string, int64_t> former_;  // guarded by former_mutex_: the backend's counters of the former lives
  uint64_t follows_ = 0;                   // guarded by former_mutex_: the number_ of the one in whose place it serves
  std::atomic<uint64_t> undivided_{0};     // batches of this life whose outputs could not be divided
  std::atomic<TimePoint> last_used_;
  FailureLog failures_;
  ServedCalls calls_;
  RequestQueue queue_;
  const std::shared_ptr<Executions> executions_;
  std::atomic<size_t> busy_{0};
  std::atomic<bool> joins_requests_;
  mutable std::mutex why_mutex_;
  std::string why_not_joined_;  // guarded by why_mutex_
};

}  // namespace trtserve
