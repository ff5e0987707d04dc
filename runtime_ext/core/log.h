#pragma once

// Queues log lines for the service. A line may come from any thread, at any time of the process's life, and must not
// wait for Python: it is queued here until Python takes it.

#include <cstdint>
#include <string>
#include <vector>

namespace trtserve {

enum class Severity { Debug, Info, Warning, Error };

struct LogRecord {
  Severity severity;
  std::string component;  ///< the source, for example "tensorrt"
  std::string message;
};

/// Thread safe. When kMostLogRecords wait, further records are dropped and counted.
void log(Severity severity, std::string component, std::string message);

inline constexpr size_t kMostLogRecords = 1000;

/// Returns the records since the last call, followed by a record with the number dropped, if any. Thread safe.
std::vector<LogRecord> take_log();

/// An eventfd, readable while records wait.
int log_fd();

}  // namespace trtserve
