#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "core/error.h"

namespace trtserve::openvino {

/// Records, for a model's guards, which executions should stop and which have been refused. Each context has a place,
/// whose number enters the model through a hidden input: OpenVINO may run an execution on its own threads, so the
/// thread does not identify it. Thread safe.
class Marks {
 public:
  int32_t add();
  /// Resets the place before an execution: neither stopped nor refused.
  void clear(int32_t place);
  void stop(int32_t place);
  bool is_stopped(int32_t place) const;
  /// Records a refusal; only an execution's first is kept.
  void refuse(int32_t place, const Error& error);
  std::optional<Error> refusal(int32_t place) const;

 private:
  struct Mark {
    bool stopped = false;
    std::optional<Error> refusal;
  };

  mutable std::mutex mutex_;
  std::deque<Mark> marks_;  // guarded by mutex_
};

}  // namespace trtserve::openvino
