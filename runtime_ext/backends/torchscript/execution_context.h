#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include <c10/core/Event.h>

#include "backends/torchscript/program.h"
#include "core/backend.h"
#include "core/graph_run.h"

namespace trtserve::torchscript {

/// Executions of a program, one at a time. It has no state of its own between them. Not thread safe except for
/// interrupt().
class TorchScriptContext final : public ExecutionContext {
 public:
  TorchScriptContext(const Program& program, at::Device device) : program_(program), device_(device) {}

  std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) override;
  void synchronize() noexcept override;
  bool idle() const noexcept override;

  /// Ends the execution at its next loop or call of an engine; torch's own operators run to their end.
  void interrupt() noexcept override;

 private:
  std::vector<at::Tensor> run(c10::ArrayRef<at::Tensor> inputs) const;
  std::vector<at::Tensor> checked(std::vector<at::Tensor> outputs, c10::ArrayRef<at::Tensor> inputs) const;
  void note_end();

  const Program& program_;
  const at::Device device_;
  std::optional<c10::Event> done_;  // after the work of the last execution; nothing on the CPU
  std::mutex mutex_;
  std::shared_ptr<GraphRun> running_;  // guarded by mutex_; null while nothing runs
};

}  // namespace trtserve::torchscript
