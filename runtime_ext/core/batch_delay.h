#pragma once

#include "core/batch_rules.h"

namespace trtserve {

/// How long a batch that is not full may wait for more requests. Fixed, or adaptive:
///
/// Waiting pays only while more requests are expected, and never for longer than one execution takes. So an adaptive
/// batch waits until it has as many requests as were recently under way at the same time, minus those that run now. It
/// waits for at most one execution, and not at all if the latency target leaves no room. A lone client's request runs
/// immediately, because no other request is expected.
///
/// Not thread safe: guarded by its queue's mutex.
class BatchDelay {
 public:
  explicit BatchDelay(const BatchRules& rules) : rules_(rules) {}

  /// Notes an arrival: `open` requests are now under way, including the new one.
  void arrived(size_t open);

  /// Notes that a batch begins to run while `open` requests are under way.
  void began(size_t open);

  /// Notes the time that an execution took.
  void executed(Nanoseconds compute);

  /// The longest that a request may be held back for others.
  Nanoseconds longest() const;

  /// True if no two requests were under way at the same time lately.
  bool one_by_one() const { return expected_ <= 1; }

  /// True if more requests are expected while `open` are under way; otherwise there is no point in waiting.
  bool expects_more(size_t open) const { return !rules_.adaptive || open < expected_; }

 private:
  const BatchRules& rules_;
  size_t expected_ = 0;     // the most requests recently under way at the same time
  Nanoseconds compute_{0};  // moving average per execution
};

}  // namespace trtserve
