#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/context_pool.h"
#include "core/request_queue.h"

namespace trtserve {

/// A batch in the hands of an instance, which runs it: first together, and where that fails one request at a time.
/// Belongs to the instance's thread, but for what is said to be guarded by the mutex of the Executions that it is in.
struct Execution {
  explicit Execution(Batch taken) : batch(std::move(taken)) {}

  Batch batch;  // `turn` and, from `begin` on, `ended` of the requests: guarded; not moved while it is in there
  const std::thread::id thread = std::this_thread::get_id();

  // Guarded:
  size_t begin = 0;          ///< requests before it are the thread's alone
  size_t end = 0;            ///< those from `begin` to here are executing
  TimePoint began;           ///< when these began, if there are any
  TimePoint tell;            ///< when to tell of it, or to tell again
  bool left_behind = false;  ///< nobody waits for its thread any more

  bool executing() const { return begin < end; }
};

/// How many instances were left behind by unloads, with an execution that had not ended. Thread safe.
struct LeftBehind {
  std::atomic<uint64_t> ever{0};
  std::atomic<uint64_t> running{0};
};

/// The executions that have taken too long.
struct Stuck {
  size_t executions = 0;
  Nanoseconds longest{0};
};

/// What the instances of one engine execute, and how many of its requests have not ended. A request may end before its
/// execution does: its time is over, or its engine is unloaded. Then the execution is interrupted once nobody waits for
/// it, and the memory of its inputs stays until it has ended. Thread safe; its mutex is held for bookkeeping only.
class Executions {
 public:
  /// A request that ended before its execution.
  struct Early {
    Ticket ticket;
    TimePoint arrival;
    TimePoint began;
    size_t requests;  ///< in its execution
  };
  /// Calls the watch at that time at the latest.
  using WakeBy = std::function<void(TimePoint)>;

  /// `engine` outlives this. `wake_by` is called until leave_behind(), and not afterwards.
  Executions(Engine& engine, std::shared_ptr<LeftBehind> left_behind, Nanoseconds stuck_after, WakeBy wake_by);

  // -- requests

  void accepted();
  void ended(size_t requests);

  /// Blocks until every accepted request has ended, but not beyond the time.
  void wait_until_idle(Clock& clock, Nanoseconds at_most);
  void wait_until_idle();

  // -- the instance's side

  /// All of its requests begin to execute. False where that comes too late: leave_behind() has been, and the requests
  /// are still the thread's to end.
  bool add(Execution& execution, TimePoint now);

  /// The next request begins to execute again, by itself. False where it has ended: it is the thread's alone then.
  bool begin_next(Execution& execution, TimePoint now, std::unique_ptr<DeviceShare::Turn> turn);

  /// What executed has ended: these requests are the thread's alone from now on, so that it can end those that have
  /// not. The turn is given back. Whether any of them had not ended.
  bool finish(Execution& execution);

  /// Ends an execution whose requests will execute again: until then, each of them can still end otherwise.
  bool pause(Execution& execution);

  /// To be called when all requests are the thread's alone, and those of them that had not ended have been told so:
  /// their number is `told`. False where the execution was left behind.
  bool remove(Execution& execution, size_t told);

  void instance_began();
  void instance_ended();

  // -- the others' side

  /// Ends the executing requests whose deadline has come.
  std::vector<Early> expire(TimePoint now);
  std::optional<TimePoint> next_deadline() const;

  /// Ends all executing requests; their executions are interrupted, and their turns given back.
  std::vector<Early> leave_behind();

  /// Blocks until every instance has ended or been left behind; the number of the latter.
  size_t wait_for_instances();

  Stuck stuck(TimePoint now) const;

  /// A sentence on the executions that are stuck, where there is something new to tell; `next`: when to ask again.
  std::optional<std::string> tell(TimePoint now, std::optional<TimePoint>& next);

  /// As the watch's wake_by, while that is still there.
  void wake_by(TimePoint time);

 private:
  void begin(Execution& execution, size_t end, TimePoint now);
  std::vector<Early> end_early(const std::function<bool(const Request&)>& wanted);
  static std::span<const Request> executing(const Execution& execution);
  void interrupt_if_in_vain(const Execution& execution);
  size_t left_behind() const;

  Engine& engine_;
  const std::shared_ptr<LeftBehind> left_behind_;
  const Nanoseconds stuck_after_;
  const WakeBy wake_by_;
  mutable std::mutex mutex_;  // protects all below
  std::condition_variable changed_;
  size_t open_ = 0;                  // accepted and not ended
  std::vector<Execution*> running_;  // one an instance at most
  size_t instances_ = 0;             // that have begun and not ended
  bool watched_ = false;             // the watch will look at what begins now
  bool closed_ = false;              // leave_behind() was called
};

}  // namespace trtserve
