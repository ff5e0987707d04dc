#include "core/log.h"

#include <memory>
#include <mutex>

#include <c10/util/StringUtil.h>

#include "core/event_fd.h"

namespace trtserve {

namespace {

/// Thread safe.
class LogQueue {
 public:
  void push(LogRecord record) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      if (records_.size() >= kMostLogRecords) {
        ++dropped_;
        return;
      }
      first = records_.empty();
      records_.push_back(std::move(record));
    }
    if (first) event_.signal();
  }

  std::vector<LogRecord> take() {
    event_.reset();  // before the swap: a later push finds the queue empty and signals again
    std::vector<LogRecord> taken;
    const std::lock_guard lock(mutex_);
    taken.swap(records_);
    if (dropped_ > 0) {
      taken.push_back({Severity::Warning, "log", c10::str(dropped_, " lines were dropped: they came too fast")});
      dropped_ = 0;
    }
    return taken;
  }

  int fd() const { return event_.fd(); }

 private:
  EventFd event_;
  std::mutex mutex_;
  std::vector<LogRecord> records_;  // guarded by mutex_
  size_t dropped_ = 0;              // guarded by mutex_
};

LogQueue& queue() {
  // Never destroyed: libraries log from their threads and exit handlers.
  static LogQueue& queue = *std::make_unique<LogQueue>().release();
  return queue;
}

}  // namespace

void log(Severity severity, std::string component, std::string message) {
  queue().push({severity, std::move(component), std::move(message)});
}

std::vector<LogRecord> take_log() { return queue().take(); }

int log_fd() { return queue().fd(); }

}  // namespace trtserve
