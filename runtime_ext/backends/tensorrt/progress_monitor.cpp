#include "backends/tensorrt/progress_monitor.h"

#include <algorithm>

#include <c10/util/StringUtil.h>

namespace trtserve::tensorrt {

// TensorRT calls these in the middle of its work: without memory, a report is lost and the build goes on.

void ProgressMonitor::phaseStart(char const* phase, char const* parent, int32_t steps) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    Phase next{phase == nullptr ? "" : phase, fraction_, 1.0 - fraction_, std::max(steps, 1), 0};
    if (const Phase* around = parent == nullptr ? nullptr : find(parent)) {
      next.size = around->size / around->steps;
      next.begin = around->begin + next.size * std::min(around->done, around->steps - 1);
    }
    phases_.push_back(next);
    advance(next.begin, &phases_.back());
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

bool ProgressMonitor::stepComplete(char const* phase, int32_t step) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (Phase* now = phase == nullptr ? nullptr : find(phase)) {
      now->done = std::clamp(step + 1, now->done, now->steps);
      advance(now->begin + now->size * now->done / now->steps, now);
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
  return true;  // go on: a build is cancelled by ending its process
}

void ProgressMonitor::phaseFinish(char const* phase) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    const Phase* now = phase == nullptr ? nullptr : find(phase);
    if (now == nullptr) return;
    const double end = now->begin + now->size;
    phases_.erase(phases_.begin() + (now - phases_.data()));
    advance(end, phases_.empty() ? nullptr : &phases_.back());
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

ProgressMonitor::Phase* ProgressMonitor::find(const char* name) {
  const auto found =
      std::find_if(phases_.rbegin(), phases_.rend(), [&](const Phase& each) { return each.name == name; });
  return found == phases_.rend() ? nullptr : &*found;
}

void ProgressMonitor::advance(double to, const Phase* now) {
  fraction_ = std::clamp(to, fraction_, 1.0);
  if (now == nullptr) return progress_.report(fraction_, "building the plan");
  progress_.report(fraction_, c10::str(now->name, ", step ", std::min(now->done + 1, now->steps), " of ", now->steps));
}

}  // namespace trtserve::tensorrt
