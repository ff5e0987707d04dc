#pragma once

#include <mutex>
#include <optional>
#include <string>

namespace trtserve {

/// How far a build is: its thread reports, any other reads. Thread safe.
class BuildProgress {
 public:
  /// `fraction`: from 0 to 1; nothing if the library does not tell. `phase`: what it does now, for people.
  void report(std::optional<double> fraction, std::string phase) {
    const std::lock_guard lock(mutex_);
    fraction_ = fraction;
    phase_ = std::move(phase);
  }

  std::optional<double> fraction() const {
    const std::lock_guard lock(mutex_);
    return fraction_;
  }

  std::string phase() const {
    const std::lock_guard lock(mutex_);
    return phase_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<double> fraction_;  // guarded by mutex_
  std::string phase_;               // guarded by mutex_
};

}  // namespace trtserve
