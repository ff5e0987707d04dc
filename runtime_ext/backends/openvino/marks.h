#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "core/error.h"

namespace trtserve::openvino {

/// What a model's guards know of the executions of an engine, and tell of them: which are to stop, and which they have
/// refused. Each context has a place of its own, whose number goes into the model as a value of a hidden input: threads
/// of OpenVINO's own may run an execution, so it cannot be told by its thread. Thread safe.
class Marks {
 public:
  int32_t add();
  /// Before an execution: neither stopped nor refused.
  void clear(int32_t place);
  void stop(int32_t place);
  bool is_stopped(int32_t place) const;
  /// Keeps the first refusal of an execution.
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
