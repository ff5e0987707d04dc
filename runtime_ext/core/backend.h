#pragma once

// The interface between the core and what can run a plan. A backend is one plugin library; it includes
// this header and is opened by plugin.h. Everything here may throw trtserve::Error; any other exception
// is taken as a failure of the backend.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "core/error.h"
#include "core/load_options.h"
#include "core/tensor_spec.h"

namespace trtserve {

/// The state of one execution of an engine at a time. Not thread safe but for interrupt(): the context pool leases it
/// to one thread at a time.
class ExecutionContext {
 public:
  virtual ~ExecutionContext() = default;

  /// Runs the engine on `inputs`: one an engine input, in its order, contiguous, on the engine's device (on
  /// the host where the spec says so), checked against the specs. The outputs are in the engine's order, on
  /// the device or on the host likewise, and share no memory with the inputs or with the context. On a
  /// device that works asynchronously, the work is in the order of the calling thread's current stream, and
  /// this may return before it is complete.
  virtual std::vector<at::Tensor> execute(c10::ArrayRef<at::Tensor> inputs) = 0;

  /// Blocks until the work of the last execute() is complete; its errors are those of who waits for its
  /// outputs. Nothing to do where execute() waits.
  virtual void synchronize() noexcept {}

  /// Whether synchronize() would not have to wait.
  virtual bool idle() const noexcept { return true; }

  /// Asks execute() to end soon, if another thread is in it: nobody waits for its outputs any more. It then throws an
  /// Error, and the context stays good for the next one; an execution that begins later is not touched. Called from any
  /// thread while the context is leased, with locks held, so it must not block; more than once where one has no effect.
  /// A backend that cannot stop an execution leaves it running.
  virtual void interrupt() noexcept {}
};

/// A plan, deserialized. Thread safe but for create_context().
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

  /// What an engine inspector tells of the engine's layers, as JSON. Unsupported where there is none.
  virtual std::string layers() const { fail(Kind::Unsupported, "this engine's backend tells nothing of its layers"); }

  /// The shapes of the outputs for these shapes of the inputs, where that can be told without an execution; -1 for a
  /// dimension that is not known, on either side.
  using Shapes = std::vector<std::optional<std::vector<int64_t>>>;
  virtual std::optional<Shapes> output_shapes(const Shapes& /*inputs*/) const { return std::nullopt; }

  /// Numbers for monitoring by name; those that end in _bytes are gauges, the others only grow.
  virtual std::map<std::string, int64_t> counters() const { return {}; }

  virtual std::unique_ptr<ExecutionContext> create_context() = 0;
};

/// Settings of a backend by name; each backend says which it knows.
using BackendConfig = std::map<std::string, std::string>;

/// What can run a plan. Thread safe.
class Backend {
 public:
  virtual ~Backend() = default;

  /// The version of the library behind the backend.
  virtual std::string version() const = 0;

  /// Deserializes the plan file. InvalidInput where the plan is at fault.
  virtual std::unique_ptr<BackendEngine> load(const std::string& plan_path, const LoadOptions& options) = 0;
};

/// Raised whenever this header or load_options.h changes; a plugin of another number is refused.
inline constexpr int kBackendAbi = 4;

}  // namespace trtserve

// What every plugin library defines, and is looked up in it by name.
extern "C" {
/// kBackendAbi as the plugin was built with.
__attribute__((visibility("default"))) int trtserve_backend_abi();
/// A new backend, which the caller owns. May throw, as everything here.
__attribute__((visibility("default"))) trtserve::Backend* trtserve_backend_create(
    const trtserve::BackendConfig& config);
}
