#include "core/device_share.h"

#include <algorithm>

namespace trtserve {

DeviceShare::Member::Member(std::shared_ptr<DeviceShare> share, size_t instances)
    : share_(std::move(share)), instances_(instances) {
  const std::lock_guard lock(share_->mutex_);
  share_->members_.insert(this);
  share_->count_turns();
  share_->changed_.notify_all();
}

DeviceShare::Member::~Member() { leave(); }

void DeviceShare::Member::leave() {
  const std::lock_guard lock(share_->mutex_);
  share_->members_.erase(this);
  share_->count_turns();
}

size_t DeviceShare::Member::asking() const {
  const std::lock_guard lock(share_->mutex_);
  return waiting_;
}

TimePoint DeviceShare::take(Member& member) {
  std::unique_lock lock(mutex_);
  if (member.waiting_ == 0) member.used_ = std::max(member.used_, time_);
  if (!may_take(member)) wait_for_turn(member, lock);
  took(member);
  const bool more = !asking_.empty() && taken_ < turns_;
  lock.unlock();
  if (more) changed_.notify_all();
  return clock_->now();
}

void DeviceShare::wait_for_turn(Member& member, std::unique_lock<std::mutex>& lock) {
  if (member.waiting_++ == 0) asking_.push_back(&member);
  changed_.wait(lock, [&] { return may_take(member); });
  if (--member.waiting_ == 0) std::erase(asking_, &member);
}

bool DeviceShare::Member::take_if_free() {
  const std::lock_guard lock(share_->mutex_);
  if (waiting_ == 0) used_ = std::max(used_, share_->time_);
  if (!share_->may_take(*this)) return false;
  share_->took(*this);
  return true;
}

void DeviceShare::Member::take_at_once() {
  const std::lock_guard lock(share_->mutex_);
  if (waiting_ == 0) used_ = std::max(used_, share_->time_);
  share_->took(*this);
}

/// Call with mutex_ held.
void DeviceShare::took(Member& member) {
  ++member.taken_;
  ++taken_;
  time_ = std::max(time_, member.used_);
}

bool DeviceShare::may_take(const Member& member) const {
  if (member.taken_ == 0) return true;
  if (taken_ >= turns_) return false;
  return std::none_of(asking_.begin(), asking_.end(), [&](const Member* other) { return other->used_ < member.used_; });
}

void DeviceShare::count_turns() {
  turns_ = 0;
  for (const auto* member : members_) turns_ = std::max(turns_, member->instances_);
}

void DeviceShare::give_back(Turn& turn) {
  bool waited_for = false;
  {
    const std::lock_guard lock(mutex_);
    if (turn.given_back_) return;
    turn.given_back_ = true;
    turn.member_.used_ += clock_->now() - turn.began_;
    --turn.member_.taken_;
    --taken_;
    waited_for = !asking_.empty();
  }
  if (waited_for) changed_.notify_all();
}

}  // namespace trtserve
