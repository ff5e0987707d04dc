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

/// Remembers a breach; the parts are put together to a sentence.
template <class... Parts>
void breached(const Parts&... parts) {
  std::ostringstream sentence;
  (sentence << ... << parts);
  breach(sentence.str());
}

/// Whether a method may run while other threads are in methods of the same object.
enum class Use { Shared, Alone };

/// Who is in the methods of one object now. A call that must be alone and is not is a breach; it then waits for
/// its turn all the same, so that a breach is told and not acted out. Thread safe.
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

  std::recursive_mutex alone_;  // held during calls that must be alone
  std::mutex mutex_;            // protects visits_; never held during a call
  std::vector<Visit> visits_;   // guarded by mutex_
};

/// The state of an object of the API, which is gone once the application has deleted the object; the object
/// itself stays, so that a call after that is seen and not undefined. Thread safe.
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

/// One call of a method, for as long as it lasts: counted, and a breach where the thread or the object's lifetime
/// forbids it. False where the object, or one that it was made by, was deleted.
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

/// The state of an object that its application deletes now; null, and a breach, where it had done so before.
template <class State>
std::shared_ptr<State> destroy(Owned<State>& object) {
  object.presence().enter(object.what(), "delete", Use::Alone);
  auto state = object.take();
  object.presence().leave(Use::Alone);
  if (state == nullptr) breached("delete: called on a destroyed ", object.what());
  return state;
}

/// Keeps the shell of an object for the rest of the process.
void keep(std::shared_ptr<void> shell);

}  // namespace trtserve::fake::trt
