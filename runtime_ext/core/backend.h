#pragma once

// The interface between the core and the backends that run plans. A backend is one plugin library; it includes this
// header and is opened by plugin.h. Everything here may throw trtserve::Error; any other exception counts as a failure
// of the backend.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include "core/build_options.h"
#include "core/build_progress.h"
#include "core/error.h"
#include "core/load_options.h"
#include "core/memory.h"
#include "core/module_inspection.h"
#include "core/tensor_spec.h"

namespace trtserve {

/// The state of one execution of an engine at a time. Not thread safe except for interrupt(): the context pool leases
/// it to one thread at a time.
class ExecutionContext {
 public:
  virtual ~ExecutionContext() = default;

  /// Runs the engine on `inputs`: one for each engine input, in the engine's order, contiguous, on the engine's device
  /// (on the host where the spec says so), checked against the specs. Returns the outputs in the engine's order, placed
  /// by the same rule; they share no memory with the inputs or with the context. On an asynchronous device, the work is
  /// ordered by the calling thread's current stream, and this may return before it is complete. It waits for the work
  /// of the last execute() if the context cannot begin before that is complete.
  virtual std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) = 0;

  /// Likewise, with outputs that nobody wants and before any request: it may also do once and for all what later
  /// executions with inputs of these shapes profit from. Returns when the work is complete.
  virtual void warm_up(c10::ArrayRef<at::Tensor> inputs) {
    execute(inputs);
    synchronize();
  }

  /// Blocks until the work of the last execute() is complete; its errors reach whoever waits for its outputs. Does
  /// nothing where execute() itself waits.
  virtual void synchronize() noexcept {}

  /// True if synchronize() would return without waiting.
  virtual bool idle() const noexcept { return true; }

  /// Asks a running execute() to end soon, because its outputs are no longer wanted. It then throws an Error, and the
  /// context remains usable; later executions are not affected. Called from any thread while the context is leased,
  /// with locks held, so it must not block. May be called again if a call has no effect. A backend that cannot stop an
  /// execution leaves it running.
  virtual void interrupt() noexcept {}
};

/// A stream of a device, which nothing else uses while this exists. Not thread safe.
class DeviceStream {
 public:
  virtual ~DeviceStream() = default;
  virtual c10::Stream stream() const = 0;

  /// Blocks until the work that is now enqueued on the stream is complete; throws the device's error if there is one.
  virtual void wait() = 0;
};

/// The bytes at the beginning of a file of write_compiled() that belong to the caller, for a checksum of the rest.
inline constexpr size_t kCompiledHead = 32;

/// A plan, deserialized. Thread safe except for create_context().
class BackendEngine {
 public:
  virtual ~BackendEngine() = default;

  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
  virtual at::Device device() const = 0;

  /// How many instances to run: LoadOptions::instances, or the backend's choice.
  virtual int instances() const = 0;

  /// Facts about the engine by name, for people.
  virtual std::map<std::string, std::string> properties() const { return {}; }

  /// The engine inspector's report on the layers, as JSON. Unsupported where there is no inspector.
  virtual std::string layers() const { fail(Kind::Unsupported, "this engine's backend does not report layers"); }

  /// The output shapes for these input shapes, where they are known without an execution; -1 for an unknown dimension,
  /// in both.
  using Shapes = std::vector<std::optional<std::vector<int64_t>>>;
  virtual std::optional<Shapes> output_shapes(const Shapes& /*inputs*/) const { return std::nullopt; }

  /// Writes a file with what this load made of the plan, so that the next load may begin with it: the caller keeps it,
  /// checks that it is undamaged, and passes it as LoadOptions::compiled with the same plan. Begins with kCompiledHead
  /// zero bytes. Returns false, and writes nothing, if there is nothing to keep, or if this load began with such a
  /// file.
  virtual bool write_compiled(const std::string& /*path*/) const { return false; }

  /// Numbers for monitoring by name; names that end in _bytes are gauges, the others are counters.
  virtual std::map<std::string, int64_t> counters() const { return {}; }

  /// Bytes that it takes on device() now, by kind, contexts included; empty where the backend does not know.
  virtual MemoryByKind memory() const { return {}; }

  virtual std::unique_ptr<ExecutionContext> create_context() = 0;

  /// IDs of the engines that its executions call. They stay loaded as long as it is.
  virtual std::vector<int64_t> uses() const { return {}; }

  /// True if the time of an execution depends only on the shapes of its inputs, if it neither waits for anything nor
  /// can fail, and if it may run on any thread. A lone short request may then run on the thread that submits it.
  virtual bool is_steady() const { return false; }

  /// True if each instance must run on a thread that no other engine uses, and that stays the same.
  virtual bool needs_own_threads() const { return false; }

  /// A stream for an instance; null if device() is the CPU, which has none. May outlive the engine.
  virtual std::unique_ptr<DeviceStream> create_stream() { return nullptr; }
};

/// A backend's settings by name; each backend documents its own.
using BackendConfig = std::map<std::string, std::string>;

/// Loads plans and runs them; some build them too. Thread safe.
class Backend {
 public:
  virtual ~Backend() = default;

  /// The version of the library behind the backend.
  virtual std::string version() const = 0;

  /// The devices that LoadOptions::device stands for, at least one, each as load() takes it: without those that are
  /// dead, unless all are. Unsupported or InvalidInput for one that there is not.
  virtual std::vector<std::string> devices(const std::string& option) { return {option}; }

  /// Deserializes the plan file on one device. Called by several threads concurrently. InvalidInput if the plan is at
  /// fault.
  virtual std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) = 0;

  /// Says what the module in the file `path` takes, returns and calls, without running it. `tensors` is that of
  /// LoadOptions. InvalidInput if the module is at fault. Unsupported where plans are no modules.
  virtual ModuleInspection inspect(const std::string& /*path*/, const std::string& /*tensors*/) {
    fail(Kind::Unsupported, "this backend does not run modules");
  }

  /// True if build() can work: what it needs beside the library is there. May open libraries.
  virtual bool builds() { return false; }

  /// Builds a plan from the ONNX file `model` and writes it to the file `plan`, which does not exist if this fails.
  /// Blocks for minutes. InvalidInput for a model or options at fault; Unsupported for an operator or a precision that
  /// the backend does not support; Unavailable if memory ran out.
  virtual void build(const std::string& /*model*/, const std::string& /*plan*/, const BuildOptions& /*options*/,
                     BuildProgress& /*progress*/) {
    fail(Kind::Unsupported, "this backend does not build plans");
  }
};

/// Raised whenever this header, load_options.h, build_options.h, build_progress.h, memory.h or module_inspection.h
/// changes; a plugin with another number is refused.
inline constexpr int kBackendAbi = 11;

}  // namespace trtserve

// Every plugin library defines these symbols; the loader looks them up by name.
extern "C" {
/// kBackendAbi as the plugin was built with.
__attribute__((visibility("default"))) int trtserve_backend_abi();
/// Returns a new backend, which the caller owns. May throw.
__attribute__((visibility("default"))) trtserve::Backend* trtserve_backend_create(
    const trtserve::BackendConfig& config);
}
