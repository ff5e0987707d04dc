#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>

#include "core/clock.h"

namespace trtserve {

/// Divides the time of one device fairly among the engines that use it: start-time fair queueing (Goyal, Vin, Cheng:
/// "Start-time Fair Queueing", 1996) with equal weights.
///
/// Every engine may run one execution at any time, so that none waits for another that is slow or stuck. Beyond that,
/// as many run at a time as the engine with the most instances may run alone: where more are asked for, the next turn
/// goes to the engine that has had the least time, so that an engine with many instances or a long queue does not
/// crowd another out. An engine that did not ask for more starts at the time of the others: it has nothing saved up.
/// Thread safe.
class DeviceShare {
 public:
  explicit DeviceShare(std::shared_ptr<Clock> clock) : clock_(std::move(clock)) {}
  DeviceShare(const DeviceShare&) = delete;
  DeviceShare& operator=(const DeviceShare&) = delete;

  /// One engine's part in the share; it outlives its turns.
  class Member {
   public:
    Member(std::shared_ptr<DeviceShare> share, size_t instances);
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    /// Instances of the engine that wait for a turn.
    size_t asking() const;

    /// The engine asks for nothing more; turns that it still has may be given back later.
    void leave();

   private:
    friend class DeviceShare;
    const std::shared_ptr<DeviceShare> share_;
    const size_t instances_;
    // Guarded by share_->mutex_:
    Nanoseconds used_{0};  // virtual: device time, or the others' while it did not wait for a turn
    size_t taken_ = 0;
    size_t waiting_ = 0;
  };

  /// The right to execute, until it is given back.
  class Turn {
   public:
    explicit Turn(Member& member) : member_(member), began_(member.share_->take(member)) {}
    ~Turn() { give_back(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// From any thread; once is enough.
    void give_back() { member_.share_->give_back(*this); }

   private:
    friend class DeviceShare;
    Member& member_;
    const TimePoint began_;
    bool given_back_ = false;  // guarded by the share's mutex_
  };

 private:
  TimePoint take(Member& member);
  void give_back(Turn& turn);
  bool may_take(const Member& member) const;
  void count_turns();

  const std::shared_ptr<Clock> clock_;
  std::mutex mutex_;  // protects all below and what members say it does; never held while anything executes
  std::condition_variable changed_;
  std::set<Member*> members_;
  size_t turns_ = 0;  // that may be taken at a time
  size_t taken_ = 0;
  size_t waiting_ = 0;
  Nanoseconds time_{0};  // virtual: of the member that took the last turn
};

}  // namespace trtserve
