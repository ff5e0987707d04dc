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

/// A batch that an instance runs: first together, then, if that fails, one request at a time. Belongs to the instance's
/// thread, except for fields marked as guarded: the mutex of its Executions guards those.
struct Execution {
  explicit Execution(Batch taken) : batch(std::move(taken)) {}

  Batch batch;  // `turn` and, from `begin` on, the requests' `ended`: guarded; not moved while in Executions
  const std::thread::id thread = std::this_thread::get_id();
  bool held = false;  ///< it runs on its submitter's thread, see ServedEngine::run_held()

  // Guarded:
  size_t begin = 0;          ///< requests before it belong to the thread alone
  size_t end = 0;            ///< requests from `begin` to here are executing
  TimePoint began;           ///< when these began, if any
  TimePoint report_at;       ///< when to report it as stuck, first or again
  bool left_behind = false;  ///< its thread is no longer waited for

  bool executing() const { return begin < end; }
};

/// Counts the instances that unloads left behind because an execution had not ended. Thread safe.
struct LeftBehind {
  std::atomic<uint64_t> ever{0};
  std::atomic<uint64_t> running{0};
};

/// The executions that have taken too long.
struct Stuck {
  size_t executions = 0;
  Nanoseconds longest{0};
};

/// Tracks the running executions of one engine, and counts its open requests. A request may end before its execution
/// does: its deadline passes, or its engine is unloaded. Once all its requests have ended, the execution is
/// interrupted; the inputs' memory stays until the execution ends. Thread safe; its mutex is held for bookkeeping only.
class Executions {
 public:
  /// A request that ended before its execution.
  struct Early {
    Ticket ticket;
    TimePoint arrival;
    TimePoint began;
    size_t requests;  ///< number in its execution
    size_t name;      ///< Signature::number
  };
  /// Has the watch called no later than this time.
  using WakeBy = std::function<void(TimePoint)>;

  /// `engine` outlives this. `wake_by` is not called after leave_behind().
  Executions(Engine& engine, std::shared_ptr<LeftBehind> left_behind, Nanoseconds stuck_after, WakeBy wake_by);

  // -- requests

  void accepted();
  void ended(size_t requests);
  /// The number of accepted requests that have not ended.
  size_t open() const;

  /// Blocks until every accepted request has ended, for `at_most` this long.
  void wait_until_idle(Clock& clock, Nanoseconds at_most);
  void wait_until_idle();

  // -- the instance's side

  /// Starts all requests of the execution. False after leave_behind(): the thread must then end the requests itself.
  bool add(Execution& execution, TimePoint now);

  /// Starts the next request again, alone. False if it has already ended: it then belongs to the thread alone.
  bool begin_next(Execution& execution, TimePoint now, std::unique_ptr<DeviceShare::Turn> turn);

  /// Ends an execution and gives back the turn: its requests now belong to the thread alone, which ends those still
  /// open. Returns whether any were open.
  bool finish(Execution& execution);

  /// Ends an execution whose requests will execute again; until then, they can still expire or be abandoned.
  bool pause(Execution& execution);

  /// Call it once all requests belong to the thread alone, and it has completed the `completed` requests that were
  /// open. False if the execution was left behind.
  bool remove(Execution& execution, size_t completed);

  /// An instance has got a thread, and then given it up.
  void instance_began();
  void instance_ended();

  // -- the side of other threads

  /// Ends the executing requests whose deadline has passed.
  std::vector<Early> expire(TimePoint now);
  std::optional<TimePoint> next_deadline() const;

  /// Ends all executing requests, interrupts their executions and gives back their turns.
  std::vector<Early> leave_behind();

  /// Blocks until every instance has given up its thread or been left behind; returns the number left behind.
  size_t wait_for_instances();

  Stuck stuck(TimePoint now) const;

  /// A sentence about stuck executions, if there is news; `next`: when to ask again.
  std::optional<std::string> report(TimePoint now, std::optional<TimePoint>& next);

  /// Calls the watch's wake_by while the watch exists.
  void wake_by(TimePoint time);

 private:
  void begin(Execution& execution, size_t end, TimePoint now);
  std::vector<Early> end_early(const std::function<bool(const Request&)>& wanted);
  static std::span<const Request> executing(const Execution& execution);
  void interrupt_if_unneeded(const Execution& execution);
  size_t left_behind() const;

  Engine& engine_;
  const std::shared_ptr<LeftBehind> left_behind_;
  const Nanoseconds stuck_after_;
  const WakeBy wake_by_;
  mutable std::mutex mutex_;  // protects all below
  std::condition_variable changed_;
  size_t open_ = 0;                  // accepted, but not ended
  std::vector<Execution*> running_;  // at most one per instance
  size_t instances_ = 0;             // that have a thread
  bool watched_ = false;             // the watch already covers executions that begin now
  bool closed_ = false;              // leave_behind() was called
};

}  // namespace trtserve
