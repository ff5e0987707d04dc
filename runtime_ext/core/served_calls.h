#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "core/batch_rules.h"
#include "core/call.h"
#include "core/request.h"
#include "core/served_replicas.h"
#include "core/stats.h"

namespace trtserve {

/// Counts the calls of an engine in service in its statistics, and as the use of its devices. Thread safe.
class ServedCalls final : public CallCounter {
 public:
  /// Told of a call that failed.
  using Failed = std::function<void(const Failure& failure, TimePoint now)>;

  /// All of this outlives it.
  ServedCalls(const BatchRules& rules, const ServedReplicas& replicas, RequestStats& stats, const Clock& clock,
              Failed failed)
      : rules_(rules), replicas_(replicas), stats_(stats), clock_(clock), failed_(std::move(failed)) {}

  TimePoint begin() override;
  TimePoint now() const override { return clock_.now(); }
  std::unique_ptr<DeviceShare::Turn> turn_at_once(at::Device device) override;
  void succeeded(c10::ArrayRef<at::Tensor> inputs, const ExecutionTimes& times) override;
  void failed(const Error& error) override;

  /// When a call began last; the least time if none did.
  TimePoint last() const { return last_.load(std::memory_order_relaxed); }

 private:
  int64_t items_of(c10::ArrayRef<at::Tensor> inputs) const;

  const BatchRules& rules_;
  const ServedReplicas& replicas_;
  RequestStats& stats_;
  const Clock& clock_;
  const Failed failed_;
  std::atomic<TimePoint> last_{TimePoint::min()};
};

}  // namespace trtserve
