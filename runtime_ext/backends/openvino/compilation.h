#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include <openvino/runtime/compiled_model.hpp>

namespace trtserve::openvino {

/// An engine's compiled model, and the means to compile it anew. An execution that ends in the middle of a graph with
/// dynamic shapes leaves operations prepared for its shapes that OpenVINO takes to be prepared for those before: later
/// answers would be wrong. Thread safe.
class Compilation {
 public:
  struct Made {
    explicit Made(ov::CompiledModel compiled) : model(std::move(compiled)) {}
    ov::CompiledModel model;
    std::atomic<bool> damaged{false};  ///< an execution ended in its middle: it serves no more
  };

  /// `again` compiles the model anew. It is null where no execution can do damage.
  Compilation(ov::CompiledModel model, std::function<ov::CompiledModel()> again);

  /// The newest one; compiled now where that was damaged. Fails with Unavailable where it cannot be compiled.
  std::shared_ptr<Made> sound();

  /// Tells that an execution has ended in the middle.
  void note_broken_off(Made& made) const {
    if (again_) made.damaged = true;
  }

 private:
  const std::function<ov::CompiledModel()> again_;
  std::mutex mutex_;
  std::shared_ptr<Made> made_;  // guarded by mutex_; null after a failed attempt
};

}  // namespace trtserve::openvino
