#include "core/graph_run.h"

#include <algorithm>

#include "core/coarse_time.h"

namespace trtserve {

namespace {

// No constant, because torch has made it a class.
auto place() { return c10::DebugInfoKind::INFERENCE_CONTEXT; }

constexpr int64_t kLittle = int64_t{16} << 20;  // bytes
constexpr int64_t kShortMs = 100;

}  // namespace

GraphRun::GraphRun(Calls calls, std::shared_ptr<Engine> engine)
    : engine_(std::move(engine)),
      is_of_queue_(calls == Calls::CountedElsewhere),
      counts_inside_(calls != Calls::Uncounted) {}

GraphRun::GraphRun(at::Device device) {
  if (auto* outer = current()) {
    outermost_ = outer->outermost_ ? outer->outermost_ : outer->shared_from_this();
    counts_inside_ = outer->counts_inside_;
    turns_ = outer->turns_;
  }
  counts_calls_ = counts_inside_;
  turns_.push_back(device);
}

bool GraphRun::has_turn_on(at::Device device) const {
  return std::find(turns_.begin(), turns_.end(), device) != turns_.end();
}

bool GraphRun::takes_much(int64_t bytes) noexcept {
  if (outermost_) return outermost_->takes_much(bytes);
  if (bytes > kLittle || taken_ > kLittle) return true;  // and stays as it is, so that it cannot overflow
  return taken_.fetch_add(bytes) + bytes > kLittle || coarse_now_ms() - began_ms_ > kShortMs;
}

GraphRun* GraphRun::current() { return dynamic_cast<GraphRun*>(c10::ThreadLocalDebugInfo::get(place())); }

void GraphRun::keep(const Error& error) {
  const std::lock_guard lock(mutex_);
  errors_.push_back(error);
}

std::optional<Error> GraphRun::kept_in(const std::string& text) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(errors_.begin(), errors_.end(),
                                  [&](const Error& error) { return text.find(error.what()) != std::string::npos; });
  return found == errors_.end() ? std::nullopt : std::optional(*found);
}

void GraphRun::made(MadeCall call) {
  if (outermost_) return outermost_->made(std::move(call));
  const std::lock_guard lock(mutex_);
  if (!takes_calls_) return;
  if (!calls_) calls_ = std::make_shared<MadeCalls>();
  if (calls_->size() < kMostMadeCalls) calls_->push_back(std::move(call));
}

std::shared_ptr<const MadeCalls> GraphRun::take_calls() noexcept {
  const std::lock_guard lock(mutex_);
  takes_calls_ = false;
  return std::move(calls_);
}

std::vector<at::Tensor> with_errors_kept(const std::shared_ptr<GraphRun>& run,
                                         const std::function<std::vector<at::Tensor>()>& work) {
  const c10::DebugInfoGuard guard(place(), run);
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    if (const auto kept = run->kept_in(error.what())) throw Error(*kept);
    throw;
  }
}

}  // namespace trtserve
