#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "core/clock.h"

namespace trtserve {

/// Divides the time of one device fairly among the engines that use it: start-time fair queueing (Goyal, Vin, Cheng:
/// "Start-time Fair Queueing", 1996) with equal weights.
///
/// Every engine may run one execution at any time, so that none waits for a slow or stuck engine. Beyond that, the
/// total limit is the largest number of instances of any engine: when more ask, the next turn goes to the engine that
/// has had the least time, so that an engine with many instances or a long queue does not crowd out another. An idle
/// engine rejoins at the others' virtual time: it saves up no credit. Thread safe.
class DeviceShare {
 public:
  explicit DeviceShare(std::shared_ptr<Clock> clock) : clock_(std::move(clock)) {}
  DeviceShare(const DeviceShare&) = delete;
  DeviceShare& operator=(const DeviceShare&) = delete;

  /// One engine's membership in the share; it outlives its turns.
  class Member {
   public:
    Member(std::shared_ptr<DeviceShare> share, size_t instances);
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    /// The number of the engine's instances that wait for a turn.
    size_t asking() const;

    /// Takes a turn if one is free now; never waits.
    bool take_if_free();

    /// Takes a turn whether one is free or not: those who wait for one wait longer. For an execution that must not
    /// wait, because it belongs to one that has a turn already, here or on another device.
    void take_at_once();

    /// Ends the engine's requests for turns; turns that it still holds may be given back later.
    void leave();

   private:
    friend class DeviceShare;
    const std::shared_ptr<DeviceShare> share_;
    const size_t instances_;
    // Guarded by share_->mutex_:
    Nanoseconds used_{0};  // virtual: device time used, or the others' time while it was idle
    size_t taken_ = 0;
    size_t waiting_ = 0;
  };

  /// The right to execute, until it is given back.
  class Turn {
   public:
    explicit Turn(Member& member) : member_(member), began_(member.share_->take(member)) {}
    /// Holds a turn that Member::take_if_free() or take_at_once() took.
    Turn(Member& member, std::adopt_lock_t /*taken*/) : member_(member), began_(member.share_->clock_->now()) {}
    ~Turn() { give_back(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// Callable from any thread; further calls do nothing.
    void give_back() { member_.share_->give_back(*this); }

   private:
    friend class DeviceShare;
    Member& member_;
    const TimePoint began_;
    bool given_back_ = false;  // guarded by the share's mutex_
  };

 private:
  TimePoint take(Member& member);
  void wait_for_turn(Member& member, std::unique_lock<std::mutex>& lock);
  void took(Member& member);
  void give_back(Turn& turn);
  bool may_take(const Member& member) const;
  void count_turns();

  const std::shared_ptr<Clock> clock_;
  std::mutex mutex_;  // protects all below and the members' fields as noted there; never held during an execution
  std::condition_variable changed_;
  std::set<Member*> members_;
  std::vector<Member*> asking_;  // those with waiting_ > 0: few, however many engines there are
  size_t turns_ = 0;             // that may be held at the same time
  size_t taken_ = 0;
  Nanoseconds time_{0};  // virtual: that of the member that took the last turn
};

}  // namespace trtserve
