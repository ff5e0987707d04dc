#pragma once

#include <mutex>
#include <string>

#include "backends/tensorrt/logger.h"

namespace trtserve::tensorrt {

/// Passes the builder's lines to the service's log, and keeps its errors, whichever of its threads reported them.
/// Thread safe.
class BuildLog final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override;

  /// Forgets the errors so far.
  void clear();

  /// The first few errors since, joined by "; "; those of our callbacks if TensorRT reported none.
  std::string errors() const;

  /// Throws Unavailable if memory ran out, otherwise an Error of `kind`; the sentence is `what` and the errors.
  [[noreturn]] void fail_with_errors(Kind kind, const std::string& what) const;

 private:
  Logger service_log_;
  mutable std::mutex mutex_;  // protects errors_
  std::string errors_;        // guarded by mutex_
};

}  // namespace trtserve::tensorrt
