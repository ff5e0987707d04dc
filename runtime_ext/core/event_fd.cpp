#include "core/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace trtserve {

EventFd::EventFd() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) fail(Kind::Unavailable, "no eventfd: ", std::strerror(errno));
}

EventFd::~EventFd() { close(fd_); }

void EventFd::signal() { eventfd_write(fd_, 1); }

void EventFd::reset() {
  eventfd_t ignored = 0;
  eventfd_read(fd_, &ignored);
}

}  // namespace trtserve
