#pragma once

namespace trtserve {

/// An eventfd that an event loop watches. Thread safe.
class EventFd {
 public:
  EventFd();
  ~EventFd();
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;

  int fd() const { return fd_; }

  /// Makes it readable. Cannot fail: reset() keeps the counter far below its limit.
  void signal();

  /// Makes it unreadable until the next signal(). Never blocks.
  void reset();

 private:
  const int fd_;
};

}  // namespace trtserve
