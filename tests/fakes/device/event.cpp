#include "event.h"

#include <mutex>

#include <c10/util/Exception.h>

#include "current.h"
#include "machine.h"

namespace trtserve::fake {

void Event::record(Stream& stream) {
  auto recording = std::make_shared<Recording>(stream.device());
  {
    const std::lock_guard lock(machine().mutex);
    latest_ = recording;
  }
  stream.enqueue([recording] {
    const std::lock_guard lock(machine().mutex);
    recording->done = true;
    recording->when = std::chrono::steady_clock::now();
  });
}

void Event::block(Stream& stream) const {
  if (auto recording = latest()) stream.await(std::move(recording));
}

bool Event::query() const {
  const auto recording = latest();
  if (!recording) return true;
  check_usable(recording->device);
  const std::lock_guard lock(machine().mutex);
  return recording->done;
}

void Event::synchronize() const {
  refuse_while_capturing("an event was synchronized");
  const auto recording = latest();
  if (!recording) return;
  std::unique_lock lock(machine().mutex);
  wait_until(lock, recording->device, [&] { return recording->done; });
}

double Event::elapsed_until(const Event& later) const {
  const std::lock_guard lock(machine().mutex);
  TORCH_CHECK(latest_ && latest_->done && later.latest_ && later.latest_->done, "both events must be done");
  return std::chrono::duration<double, std::milli>(later.latest_->when - latest_->when).count();
}

std::shared_ptr<Recording> Event::latest() const {
  const std::lock_guard lock(machine().mutex);
  return latest_;
}

}  // namespace trtserve::fake
