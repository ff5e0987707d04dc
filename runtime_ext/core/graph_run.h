#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/util/SmallVector.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "core/coarse_time.h"
#include "core/error.h"
#include "core/made_call.h"

namespace trtserve {

class Engine;

/// One run of a TorchScript graph, known to the operators that it calls on whatever thread: torch passes its
/// thread-local debug information on to the threads of prim::fork. Thread safe. Held by shared_ptr.
class GraphRun final : public c10::DebugInfoBase, public std::enable_shared_from_this<GraphRun> {
 public:
  /// Whether the executions of the engines that it calls are counted as calls, see core/call.h.
  enum class Calls {
    CountedElsewhere,  ///< its own are not: it is the run of a wrapper for the engine's queue, which counts them
    Uncounted,         ///< neither its own nor those of runs inside it: nobody asked for their outputs
  };
  /// `engine`: the one that the run of a wrapper for a queue calls, whichever of its lives serves now; may be null.
  explicit GraphRun(Calls calls, std::shared_ptr<Engine> engine = nullptr);

  /// The run of a module's graph on `device`, in a turn there.
  explicit GraphRun(at::Device device);

  /// The innermost run on this thread; null outside of any.
  static GraphRun* current();

  /// Keeps an Error that an operator throws.
  void keep(const Error& error);

  /// The kept Error whose sentence is in `text`, which is what the interpreter made of it; nothing if there is none.
  std::optional<Error> kept_in(const std::string& text) const;

  /// True if it is the run of a wrapper for the engine's queue, whose inputs the core made itself.
  bool is_of_queue() const { return is_of_queue_; }
  bool is_of_module() const { return !turns_.empty(); }
  /// Counts host memory that the run is about to take, for the outermost run; false as long as that has taken little,
  /// and not for long.
  bool takes_much(int64_t bytes) noexcept;
  bool counts_calls() const { return counts_calls_; }
  const std::shared_ptr<Engine>& engine() const { return engine_; }
  /// True if the run, or one that it is inside, has a turn on the device.
  bool has_turn_on(at::Device device) const;

  /// Notes a call of an engine that was made in this run, for the outermost run.
  void made(MadeCall call);
  /// The calls that were made in this run and in those inside it, in the order in which they ended; null if none were.
  /// Those that a fork makes later are not noted.
  std::shared_ptr<const MadeCalls> take_calls() noexcept;

  /// Asks the run to end: its next check_wanted() throws Cancelled.
  void stop() noexcept { wanted_ = false; }
  void check_wanted() const {
    if (!wanted_) fail(Kind::Cancelled, "the execution was stopped");
  }

 private:
  const std::shared_ptr<Engine> engine_;
  bool is_of_queue_ = false;
  bool counts_calls_ = false;
  bool counts_inside_ = true;  ///< those of runs inside this one
  c10::SmallVector<at::Device, 2> turns_;
  std::atomic<bool> wanted_{true};
  std::atomic<int64_t> taken_{0};  ///< bytes, without those that were given back
  const int64_t began_ms_ = coarse_now_ms();
  mutable std::mutex mutex_;
  std::vector<Error> errors_;            // guarded by mutex_; in the order in which they were thrown
  std::shared_ptr<GraphRun> outermost_;  // null: it is this one
  std::shared_ptr<MadeCalls> calls_;     // guarded by mutex_; null: none was made, or they were taken
  bool takes_calls_ = true;              // guarded by mutex_
};

/// Calls `work`, which runs a graph, as `run`, and rethrows the Error of an operator as it was: the interpreter would
/// turn it into a runtime_error with a stack trace.
std::vector<at::Tensor> with_errors_kept(const std::shared_ptr<GraphRun>& run,
                                         const std::function<std::vector<at::Tensor>()>& work);

}  // namespace trtserve
