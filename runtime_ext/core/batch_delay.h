#pragma once

#include "core/batch_rules.h"

namespace trtserve {

/// How long a batch that is not full may wait for more requests. Fixed, or adaptive:
///
/// Waiting pays only while somebody is expected, and never for longer than an execution takes: then the requests
/// would better have been run. So an adaptive batch waits until as many requests are there as were lately under way
/// at a time, less those that run now, but at most for the time of an execution, and not at all where the latency
/// target leaves no room for it. A lone client's request finds nobody else expected, and goes at once.
///
/// Not thread safe: guarded by its queue's mutex.
class BatchDelay {
 public:
  explicit BatchDelay(const BatchRules& rules) : rules_(rules) {}

  /// `open` requests are under way now, the new one among them.
  void arrived(size_t open);

  /// A batch begins to run while `open` requests are under way.
  void began(size_t open);

  /// An execution took this long.
  void executed(Nanoseconds compute);

  /// The longest that a request may be held back for others.
  Nanoseconds longest() const;

  /// Whether anybody else is expected soon, where `open` are under way: else waiting is in vain.
  bool expects_more(size_t open) const { return !rules_.adaptive || open < expected_; }

 private:
  const BatchRules& rules_;
  size_t expected_ = 0;     // requests under way at a time: the greatest lately
  Nanoseconds compute_{0};  // of an execution: an average that forgets
};

}  // namespace trtserve
