#pragma once

#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "stream.h"
#include "tally.h"

namespace trtserve::fake::trt {

/// Records a breach, with a sentence that joins the parts.
template <class... Parts>
void breached(const Parts&... parts) {
  std::ostringstream sentence;
  (sentence << ... << parts);
  breach(sentence.str());
}

/// Whether a method may run while other threads are in methods of the same object.
enum class Use { Shared, Alone };

/// Tracks the threads in the methods of one object. A call that must be alone but is not is a breach; it still waits
/// for its turn, so that the breach is only reported and causes no race. Thread safe.
class Presence {
 public:
  void enter(const std::string& object, const char* function, Use use);
  void leave(Use use);

 private:
  struct Visit {
    std::thread::id thread;
    const char* function;
    Use use;
  };

  std::recursive_mutex alone_;  // held during exclusive calls
  std::mutex mutex_;            // protects visits_; never held during a call
  std::vector<Visit> visits_;   // guarded by mutex_
};

/// Holds the state of an API object until the application deletes the object; the object itself remains, so that a
/// later call is detected instead of undefined. Thread safe.
template <class State>
class Owned {
 public:
  Owned(const char* what, std::shared_ptr<State> state) : what_(what), state_(std::move(state)) {}

  const char* what() const { return what_; }
  Presence& presence() { return presence_; }
  std::shared_ptr<State> get() const {
    const std::lock_guard lock(mutex_);
    return state_;
  }
  std::shared_ptr<State> take() {
    const std::lock_guard lock(mutex_);
    return std::move(state_);
  }

 private:
  const char* const what_;
  Presence presence_;
  mutable std::mutex mutex_;
  std::shared_ptr<State> state_;  // guarded by mutex_
};

/// One method call, during its lifetime: counts it, and records a breach if the thread or the object's lifetime forbids
/// it. Converts to false if the object or a parent of it was deleted.
template <class State>
class Call {
 public:
  Call(Owned<State>& object, const char* function, Use use = Use::Alone) : object_(object), use_(use) {
    count_call(function);
    object_.presence().enter(object_.what(), function, use_);
    state_ = object_.get();
    if (state_ == nullptr) {
      breached(function, ": called on a destroyed ", object_.what());
    } else if (const char* gone = state_->gone_ancestor()) {
      breached(function, ": called on an ", object_.what(), " whose ", gone, " was destroyed before it");
      state_ = nullptr;
    }
  }
  ~Call() { object_.presence().leave(use_); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  explicit operator bool() const { return state_ != nullptr; }
  State& operator*() const { return *state_; }
  State* operator->() const { return state_.get(); }
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  Owned<State>& object_;
  const Use use_;
  std::shared_ptr<State> state_;
};

/// Returns the state of an object that the application deletes; records a breach and returns null if it was already
/// deleted.
template <class State>
std::shared_ptr<State> destroy(Owned<State>& object) {
  object.presence().enter(object.what(), "delete", Use::Alone);
  auto state = object.take();
  object.presence().leave(Use::Alone);
  if (state == nullptr) breached("delete: called on a destroyed ", object.what());
  return state;
}

/// Keeps an object's shell until the process ends.
void keep(std::shared_ptr<void> shell);

}  // namespace trtserve::fake::trt
