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
  if (member.waiting_++ == 0) member.used_ = std::max(member.used_, time_);
  ++waiting_;
  changed_.wait(lock, [&] { return may_take(member); });
  --member.waiting_;
  --waiting_;
  ++member.taken_;
  ++taken_;
  time_ = std::max(time_, member.used_);
  const bool more = waiting_ > 0 && taken_ < turns_;
  lock.unlock();
  if (more) changed_.notify_all();
  return clock_->now();
}

bool DeviceShare::may_take(const Member& member) const {
  if (member.taken_ == 0) return true;
  if (taken_ >= turns_) return false;
  return std::none_of(members_.begin(), members_.end(),
                      [&](const Member* other) { return other->waiting_ > 0 && other->used_ < member.used_; });
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
    waited_for = waiting_ > 0;
  }
  if (waited_for) changed_.notify_all();
}

}  // namespace trtserve
