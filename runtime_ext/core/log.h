#pragma once

// What a library below says, on its way to the service's log. A line may come from any thread, at any time
// of the process's life, and must not wait for Python: it is queued here, and Python takes it when it can.

#include <cstdint>
#include <string>
#include <vector>

namespace trtserve {

enum class Severity { Debug, Info, Warning, Error };

struct LogRecord {
  Severity severity;
  std::string component;  ///< who speaks, for example "tensorrt"
  std::string message;
};

/// Thread safe. Beyond kMostLogRecords that nobody has taken, records are dropped and counted.
void log(Severity severity, std::string component, std::string message);

inline constexpr size_t kMostLogRecords = 1000;

/// Everything since the last call, then a record that counts what was dropped, if anything was. Thread safe.
std::vector<LogRecord> take_log();

/// An eventfd, readable while records wait.
int log_fd();

}  // namespace trtserve
