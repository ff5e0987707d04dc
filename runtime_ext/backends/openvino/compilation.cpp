#include "backends/openvino/compilation.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace trtserve::openvino {

namespace {

constexpr double kMostCredit = 8;

/// Earning one compilation takes this many times as long as the last one took.
constexpr double kRest = 9;

}  // namespace

Compilation::Compilation(ov::CompiledModel model, std::function<ov::CompiledModel()> again, bool one_graph)
    : again_(std::move(again)),
      one_graph_(one_graph),
      made_(std::make_shared<Made>(std::move(model))),
      credit_(kMostCredit) {}

std::shared_ptr<Compilation::Made> Compilation::undamaged() {
  const std::lock_guard lock(mutex_);
  if (made_ && !made_->damaged) return made_;
  take_credit();
  made_.reset();  // before the new one is made: contexts that still run in it keep it
  const auto began = Clock::now();
  try {
    made_ = std::make_shared<Made>(again_());
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): made_ stays null, so the next request tries again
  }
  counted_ = Clock::now();
  took_ = counted_ - began;
  if (made_) return made_;
  fail(Kind::Unavailable,
       "the model could not be recompiled after a failed execution: try again, or load the engine again");
}

/// Call with mutex_ held.
void Compilation::take_credit() {
  const std::chrono::duration<double> rest = took_ * kRest;
  const std::chrono::duration<double> since = Clock::now() - counted_;
  if (took_ > Clock::duration::zero()) credit_ = std::min(kMostCredit, credit_ + since / rest);
  if (credit_ < 1) {
    const auto wait = static_cast<int64_t>(std::ceil((rest * (1 - credit_)).count()));
    counted_ = Clock::now();
    fail(Kind::Unavailable,
         "requests keep failing in the middle of the model, which must then be recompiled: this will happen in ", wait,
         " s; find the requests that fail");
  }
  credit_ -= 1;
}

}  // namespace trtserve::openvino
