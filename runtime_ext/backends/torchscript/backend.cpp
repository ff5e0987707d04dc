#include <torch/version.h>

#include "backends/torchscript/devices.h"
#include "backends/torchscript/engine.h"
#include "backends/torchscript/program.h"
#include "core/backend.h"
#include "core/module_memory.h"

namespace trtserve::torchscript {

namespace {

/// On a GPU, the copies of one instance overlap the work of the other. On the CPU, an operator of torch uses all cores.
int instances(const LoadOptions& options, at::Device device) {
  if (options.instances > 0) return options.instances;
  return device.is_cpu() ? 1 : 2;
}

/// Runs archives of torch.jit.save(). It has no settings.
class TorchScriptBackend final : public Backend {
 public:
  std::string version() const override { return TORCH_VERSION; }

  std::vector<std::string> devices(const std::string& option) override { return devices_of(option); }

  std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) override {
    guard_module_memory();
    const auto device = device_of(options.device);
    auto program = make_program(freeze(plan_path, device, options.tensors), options);
    return std::make_unique<TorchScriptEngine>(std::move(program), device, instances(options, device));
  }

  ModuleInspection inspect(const std::string& path, const std::string& tensors) override {
    const auto frozen = freeze(path, at::kCPU, tensors);
    return {frozen.tensors.inputs,
            frozen.tensors.outputs,
            {frozen.references.ids.begin(), frozen.references.ids.end()},
            {frozen.references.names.begin(), frozen.references.names.end()}};
  }
};

}  // namespace

}  // namespace trtserve::torchscript

int trtserve_backend_abi() { return trtserve::kBackendAbi; }

trtserve::Backend* trtserve_backend_create(const trtserve::BackendConfig& /*config*/) {
  return std::make_unique<trtserve::torchscript::TorchScriptBackend>().release();
}
