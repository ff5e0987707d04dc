#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>

#include <openvino/runtime/compiled_model.hpp>

namespace trtserve::openvino {

/// An engine's compiled model, and the means to compile it anew. An execution that ends in the middle of a graph with
/// dynamic shapes leaves operations prepared for its shapes that OpenVINO takes to be prepared for those before: later
/// answers would be wrong. Who causes that again and again must not keep the cores busy with compilations: a few come
/// at once, more only as long as they take a tenth of the time. Thread safe.
class Compilation {
 public:
  struct Made {
    explicit Made(ov::CompiledModel compiled) : model(std::move(compiled)) {}
    ov::CompiledModel model;
    std::atomic<bool> damaged{false};  ///< an execution ended in its middle: it serves no more
  };

  /// `again` compiles the model anew. It is null where no execution can do damage.
  Compilation(ov::CompiledModel model, std::function<ov::CompiledModel()> again);

  /// The newest one; compiled now where that was damaged. Fails with Unavailable where it cannot be compiled, or has
  /// been too often.
  std::shared_ptr<Made> sound();

  /// Whether an execution that ends in the middle does damage.
  bool can_be_damaged() const { return again_ != nullptr; }

  /// Tells that an execution has ended in the middle.
  void note_broken_off(Made& made) const {
    if (can_be_damaged()) made.damaged = true;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void take_credit();

  const std::function<ov::CompiledModel()> again_;
  std::mutex mutex_;
  std::shared_ptr<Made> made_;  // guarded by mutex_; null after a failed attempt
  double credit_;               // guarded by mutex_: compilations that may be begun at once
  Clock::time_point counted_;   // guarded by mutex_: until then, credit_ has what was earned
  Clock::duration took_{};      // guarded by mutex_: the last one
};

}  // namespace trtserve::openvino
