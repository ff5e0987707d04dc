#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>

#include <openvino/runtime/compiled_model.hpp>

namespace trtserve::openvino {

/// An engine's compiled model, and the means to recompile it. An execution that stops in the middle of a graph with
/// dynamic shapes leaves operations prepared for its shapes, while OpenVINO believes them prepared for the previous
/// ones: later answers would be wrong. A client that causes this repeatedly must not keep the cores busy with
/// compilations: a few run immediately, more only while they take at most a tenth of the time. Thread safe.
class Compilation {
 public:
  struct Made {
    explicit Made(ov::CompiledModel compiled) : model(std::move(compiled)) {}
    ov::CompiledModel model;
    std::atomic<bool> damaged{false};  ///< an execution stopped in its middle: do not use it again
    std::mutex in_use;                 ///< see use()
  };

  /// `again` recompiles the model. It is null if no execution can do damage. `one_graph`: executions run one at a time.
  Compilation(ov::CompiledModel model, std::function<ov::CompiledModel()> again, bool one_graph);

  /// Returns an undamaged model, recompiled now if necessary. Throws Unavailable if that fails or has happened too
  /// often.
  std::shared_ptr<Made> undamaged();

  /// True if an execution that stops in the middle does damage.
  bool can_be_damaged() const { return again_ != nullptr; }

  /// Hold it during an execution, until note_broken_off(): where all executions use one graph, the next must not begin
  /// in it before that. It costs no time, since OpenVINO runs them one at a time.
  std::unique_lock<std::mutex> use(Made& made) const {
    return one_graph_ && can_be_damaged() ? std::unique_lock(made.in_use) : std::unique_lock<std::mutex>();
  }

  /// Notes that an execution stopped in the middle.
  void note_broken_off(Made& made) const {
    if (can_be_damaged()) made.damaged = true;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void take_credit();

  const std::function<ov::CompiledModel()> again_;
  const bool one_graph_;
  std::mutex mutex_;
  std::shared_ptr<Made> made_;  // guarded by mutex_; null after a failed attempt
  double credit_;               // guarded by mutex_: compilations that may start now
  Clock::time_point counted_;   // guarded by mutex_: credit_ is up to date as of this time
  Clock::duration took_{};      // guarded by mutex_: duration of the last compilation
};

}  // namespace trtserve::openvino
