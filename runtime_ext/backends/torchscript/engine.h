#pragma once

#include "backends/torchscript/program.h"
#include "core/backend.h"

namespace trtserve::torchscript {

/// A module on one device. Thread safe.
class TorchScriptEngine final : public BackendEngine {
 public:
  TorchScriptEngine(Program program, at::Device device, int instances);

  const std::vector<TensorSpec>& inputs() const override { return program_.tensors.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return program_.tensors.outputs; }
  at::Device device() const override { return device_; }
  int instances() const override { return instances_; }
  std::map<std::string, std::string> properties() const override;
  MemoryByKind memory() const override { return {{"weights", program_.bytes}}; }
  std::unique_ptr<ExecutionContext> create_context() override;
  std::vector<int64_t> uses() const override { return program_.engines; }
  std::unique_ptr<DeviceStream> create_stream() override;

 private:
  const Program program_;
  const at::Device device_;
  const int instances_;
};

}  // namespace trtserve::torchscript
