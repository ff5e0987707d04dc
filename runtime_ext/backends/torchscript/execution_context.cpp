#include "backends/torchscript/execution_context.h"

#include <algorithm>
#include <optional>

#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "backends/torchscript/failure.h"
#include "backends/torchscript/fork_threads.h"
#include "backends/torchscript/string_lists.h"
#include "core/byte_strings.h"
#include "core/error.h"
#include "core/memory.h"

namespace trtserve::torchscript {

namespace {

bool fits(const at::Tensor& output, const TensorSpec& spec) {
  const auto& shape = *spec.shape;
  return std::equal(output.sizes().begin(), output.sizes().end(), shape.begin(), shape.end(),
                    [](int64_t came, int64_t described) { return described < 0 || came == described; });
}

void check_output(const at::Tensor& output, const TensorSpec& spec) {
  if (!output.defined() || output.layout() != at::kStrided) {
    fail(Kind::ExecutionFailed, "the module's output '", spec.name, "' is not a dense tensor");
  }
  if (output.scalar_type() != spec.dtype) {
    fail(Kind::ExecutionFailed, "the module's output '", spec.name, "' is ", datatype_name(output.scalar_type()),
         "; it is described as ", datatype_name(spec.dtype));
  }
  if (!fits(output, spec)) {
    fail(Kind::ExecutionFailed, "the module's output '", spec.name, "' has shape ", format_shape(output.sizes()),
         "; it is described as ", format_shape(*spec.shape));
  }
}

std::vector<c10::IValue> values_of(const c10::IValue& result, const std::vector<TensorSpec>& specs) {
  if (result.isTuple()) return result.toTupleRef().elements().vec();
  const bool is_strings = specs.size() == 1 && specs[0].dtype == kBytes;
  if (result.isTensor() || is_strings) return {result};
  return result.toListRef().vec();
}

/// The outputs as tensors; a list of strings is checked as it is read.
std::vector<at::Tensor> tensors_of(const c10::IValue& result, const std::vector<TensorSpec>& specs) {
  const auto values = values_of(result, specs);
  if (values.size() != specs.size()) {
    fail(Kind::ExecutionFailed, "the module returned ", values.size(), " tensors; ", specs.size(), " are described");
  }
  std::vector<at::Tensor> tensors;
  for (size_t i = 0; i < values.size(); ++i) {
    tensors.push_back(specs[i].dtype == kBytes ? from_list(values[i], specs[i]) : values[i].toTensor());
  }
  return tensors;
}

/// torch's out-of-memory errors lose their type in the interpreter.
bool is_out_of_memory(const std::string& text) {
  return text.find("DefaultCPUAllocator: ") != std::string::npos || text.find("out of memory") != std::string::npos;
}

}  // namespace

std::vector<at::Tensor> TorchScriptContext::execute(c10::ArrayRef<at::Tensor> inputs) {
  const auto run = std::make_shared<GraphRun>(device_);
  {
    const std::lock_guard lock(mutex_);
    running_ = run;
  }
  const auto ended = [this] {
    const std::lock_guard lock(mutex_);
    running_.reset();
  };
  const auto failed = [&] {
    ended();
    if (run->takes_much(0)) release_unused(at::kCPU);  // the heap would hold it, and nothing else could have it
  };
  try {
    auto outputs = with_errors_kept(run, [&] { return checked(this->run(inputs), inputs); });
    ended();
    note_end();
    return outputs;
  } catch (const Error&) {
    failed();
    throw;
  } catch (const std::exception& error) {
    failed();
    run->check_wanted();
    const std::string text = error.what();
    if (is_out_of_memory(text)) {
      fail(Kind::Unavailable, "the module needs more memory than is available: ", first_reason(error));
    }
    fail(Kind::ExecutionFailed, "the module failed: ", first_reason(error));
  }
}

std::vector<at::Tensor> TorchScriptContext::run(c10::ArrayRef<at::Tensor> inputs) const {
  const c10::InferenceMode inference;
  const torch::jit::GraphOptimizerEnabledGuard as_written(false);
  torch::jit::Stack stack{program_.module._ivalue()};
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& spec = program_.tensors.inputs[i];
    if (spec.dtype == kBytes) {
      stack.push_back(to_list(inputs[i], spec));
    } else {
      stack.emplace_back(program_.writes[i] ? inputs[i].clone() : inputs[i]);
    }
  }
  torch::jit::InterpreterState(program_.code, program_.forks_in_turn ? run_here : launch).run(stack);
  return tensors_of(torch::jit::pop(stack), program_.tensors.outputs);
}

/// Outputs that are as described, on the module's device, and that own their memory.
std::vector<at::Tensor> TorchScriptContext::checked(std::vector<at::Tensor> outputs,
                                                    c10::ArrayRef<at::Tensor> inputs) const {
  const c10::InferenceMode inference;
  const auto& specs = program_.tensors.outputs;
  std::vector<const void*> taken;
  for (const auto& input : inputs) taken.push_back(input.storage().unsafeGetStorageImpl());
  for (size_t i = 0; i < outputs.size(); ++i) {
    auto& output = outputs[i];
    if (specs[i].dtype == kBytes) continue;
    check_output(output, specs[i]);
    output = output.to(device_).contiguous().resolve_conj().resolve_neg();
    const void* storage = output.storage().unsafeGetStorageImpl();
    const bool is_shared =
        program_.shared.count(storage) != 0 || std::find(taken.begin(), taken.end(), storage) != taken.end();
    if (is_shared) output = output.clone(at::MemoryFormat::Contiguous);
    taken.push_back(output.storage().unsafeGetStorageImpl());
  }
  return outputs;
}

void TorchScriptContext::note_end() {
  if (device_.is_cpu()) return;
  const c10::impl::VirtualGuardImpl accelerator(device_.type());
  if (!done_) done_.emplace(device_.type());
  done_->record(accelerator.getStream(device_));
}

void TorchScriptContext::synchronize() noexcept {
  try {
    if (done_) done_->synchronize();
  } catch (...) {  // NOLINT(bugprone-empty-catch): whoever waits for the outputs gets the error
  }
}

bool TorchScriptContext::idle() const noexcept {
  try {
    return !done_ || done_->query();
  } catch (...) {
    return true;
  }
}

void TorchScriptContext::interrupt() noexcept {
  const std::lock_guard lock(mutex_);
  if (running_) running_->stop();
}

}  // namespace trtserve::torchscript
