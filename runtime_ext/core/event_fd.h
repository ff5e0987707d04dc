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

  /// Makes it readable. Cannot fail: the counter is far from its end, since reset() takes it back to zero.
  void signal();

  /// Makes it unreadable until the next signal(). Never blocks.
  void reset();

 private:
  const int fd_;
};

}  // namespace trtserve
