#include "core/log.h"

#include <atomic>
#include <memory>

#include <c10/util/StringUtil.h>

#include "core/signal_queue.h"

namespace trtserve {

namespace {

/// Thread safe.
class LogQueue {
 public:
  void push(LogRecord record) {
    records_.push_with([&](std::vector<LogRecord>& all) {
      if (all.size() < kMostLogRecords) {
        all.push_back(std::move(record));
      } else {
        ++dropped_;
      }
    });
  }

  std::vector<LogRecord> take() {
    auto taken = records_.take();
    if (const size_t dropped = dropped_.exchange(0); dropped > 0) {
      taken.push_back({Severity::Warning, "log", c10::str(dropped, " lines were dropped because they came too fast")});
    }
    return taken;
  }

  int fd() const { return records_.fd(); }

 private:
  SignalQueue<LogRecord> records_;
  std::atomic<size_t> dropped_{0};
};

LogQueue& queue() {
  // Never destroyed: libraries log from their own threads and exit handlers.
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
