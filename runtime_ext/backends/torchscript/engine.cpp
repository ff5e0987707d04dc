#include "backends/torchscript/engine.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include "backends/torchscript/execution_context.h"

namespace trtserve::torchscript {

namespace {

/// A stream of torch's pool.
class PooledStream final : public DeviceStream {
 public:
  explicit PooledStream(at::Device device) : accelerator_(device.type()), stream_(accelerator_.getNewStream(device)) {}
  c10::Stream stream() const override { return stream_; }
  void wait() override { accelerator_.synchronizeStream(stream_); }

 private:
  const c10::impl::VirtualGuardImpl accelerator_;
  const c10::Stream stream_;
};

}  // namespace

TorchScriptEngine::TorchScriptEngine(Program program, at::Device device, int instances)
    : program_(std::move(program)), device_(device), instances_(instances) {}

std::map<std::string, std::string> TorchScriptEngine::properties() const {
  std::string engines;
  for (const int64_t id : program_.engines) engines += (engines.empty() ? "" : ", ") + std::to_string(id);
  return {{"engines", engines}};
}

std::unique_ptr<ExecutionContext> TorchScriptEngine::create_context() {
  return std::make_unique<TorchScriptContext>(program_, device_);
}

std::unique_ptr<DeviceStream> TorchScriptEngine::create_stream() {
  return device_.is_cpu() ? nullptr : std::make_unique<PooledStream>(device_);
}

}  // namespace trtserve::torchscript
