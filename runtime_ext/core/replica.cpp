#include "core/replica.h"

#include <numeric>

#include <c10/util/StringUtil.h>

#include "core/device_health.h"

namespace trtserve {

namespace {

std::vector<std::unique_ptr<ExecutionContext>> create_contexts(BackendEngine& engine, const std::string& label) {
  check_names(engine.inputs());  // before contexts allocate device memory
  check_names(engine.outputs());
  try {
    std::vector<std::unique_ptr<ExecutionContext>> contexts;
    contexts.reserve(static_cast<size_t>(engine.instances()));
    for (int i = 0; i < engine.instances(); ++i) contexts.push_back(engine.create_context());
    return contexts;
  } catch (...) {
    throw explained(engine.device(), c10::str("an execution context of ", label), std::current_exception());
  }
}

}  // namespace

Replica::Replica(std::unique_ptr<BackendEngine> engine, const std::string& label)
    : engine_(std::move(engine)), contexts_(create_contexts(*engine_, label)), staged_(contexts_.size()) {}

int64_t Replica::staging() const {
  return std::accumulate(staged_.begin(), staged_.end(), int64_t{0},
                         [](int64_t sum, const auto& bytes) { return sum + bytes.load(std::memory_order_relaxed); });
}

}  // namespace trtserve
