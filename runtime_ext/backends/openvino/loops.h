#pragma once

#include <deque>
#include <memory>
#include <mutex>

#include <openvino/core/model.hpp>

namespace trtserve::openvino {

/// Which executions of an engine are to stop. Each context has a place of its own, whose number goes into the model as
/// a value of a hidden input: threads of OpenVINO's own may run an execution, so it cannot be told by its thread.
/// Thread safe.
class StopFlags {
 public:
  int32_t add();
  void set(int32_t place, bool stop);
  bool is_set(int32_t place) const;

 private:
  mutable std::mutex mutex_;
  std::deque<bool> flags_;  // guarded by mutex_
};

/// Makes every loop of the model end: no iterations where the trip count is negative, as ONNX has it, and before each
/// iteration a look at the execution's stop flag. Gives the model one more input, the last, for the flag's place; false
/// and no input where nothing loops as long as a request likes.
bool add_loop_guards(const std::shared_ptr<ov::Model>& model, const std::shared_ptr<StopFlags>& flags);

}  // namespace trtserve::openvino
