#include "backends/openvino/marks.h"

namespace trtserve::openvino {

int32_t Marks::add() {
  const std::lock_guard lock(mutex_);
  marks_.emplace_back();
  return static_cast<int32_t>(marks_.size()) - 1;
}

void Marks::clear(int32_t place) {
  const std::lock_guard lock(mutex_);
  auto& mark = marks_.at(static_cast<size_t>(place));
  mark.stopped = false;
  mark.refusal.reset();
}

void Marks::stop(int32_t place) {
  const std::lock_guard lock(mutex_);
  marks_.at(static_cast<size_t>(place)).stopped = true;
}

bool Marks::is_stopped(int32_t place) const {
  const std::lock_guard lock(mutex_);
  return marks_.at(static_cast<size_t>(place)).stopped;
}

void Marks::refuse(int32_t place, const Error& error) {
  const std::lock_guard lock(mutex_);
  auto& refusal = marks_.at(static_cast<size_t>(place)).refusal;
  if (!refusal) refusal.emplace(error);
}

std::optional<Error> Marks::refusal(int32_t place) const {
  const std::lock_guard lock(mutex_);
  return marks_.at(static_cast<size_t>(place)).refusal;
}

}  // namespace trtserve::openvino
