#pragma once

#include <memory>
#include <optional>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "core/device_share.h"
#include "core/error.h"
#include "core/stats.h"

namespace trtserve {

class Engine;

/// Counts the calls of an engine: its executions that an operator runs for a module or for other code, and not for the
/// engine's queue. Thread safe.
class CallCounter {
 public:
  virtual ~CallCounter() = default;

  /// A call begins now, at the time that this returns.
  virtual TimePoint begin() = 0;
  virtual TimePoint now() const = 0;
  /// A turn on the device, one of the engine's, for the time of a call. It does not wait: the caller may hold turns
  /// that others wait for.
  virtual std::unique_ptr<DeviceShare::Turn> turn_at_once(at::Device device) = 0;

  virtual void succeeded(c10::ArrayRef<at::Tensor> inputs, const ExecutionTimes& times) = 0;
  virtual void failed(const Error& error) = 0;
};

/// One call of an engine, from the lease of its context to its end. It counts in the engine's statistics, if the engine
/// is served and nobody else counts the execution. It has a turn on its device: the caller's, where the graph that
/// calls runs on that device in a turn of its own; there, the caller's account pays for the call's time. Otherwise one
/// of the engine's own. The caller's run notes it. Used by one thread.
class Call {
 public:
  /// The caller is the graph that runs on this thread, if there is one.
  Call(const Engine& engine, at::Device device);

  void inferred();  ///< the context has returned
  void succeeded(c10::ArrayRef<at::Tensor> inputs);
  void failed(const Error& error);

 private:
  void note(std::optional<Kind> failure) const;

  const Engine& engine_;
  std::shared_ptr<CallCounter> counter_;  // null if the call is not counted; before the turn, whose member it owns
  std::unique_ptr<DeviceShare::Turn> turn_;
  ExecutionTimes times_;
};

}  // namespace trtserve
