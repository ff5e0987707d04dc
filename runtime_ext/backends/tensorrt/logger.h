#pragma once

#include <string>

#include <NvInferRuntime.h>

#include "core/error.h"
#include "core/log.h"

namespace trtserve::tensorrt {

/// The errors that TensorRT and our callbacks reported on this thread since the last clear_errors(): TensorRT's calls
/// only return null or false, and the reason is here.
struct ThreadErrors {
  std::string text;            ///< the first few sentences, joined by "; "
  bool out_of_memory = false;  ///< an allocation failed
};

void clear_errors();
const ThreadErrors& errors();
void add_error(const std::string& sentence);
void mark_out_of_memory();

/// Puts a line from TensorRT into the service's log; an error is also added to the thread's errors.
void report(trtserve::Severity severity, const char* message) noexcept;

/// Throws Unavailable if the thread's errors show a lack of memory, otherwise an Error of `kind`; the sentence is
/// `what` followed by the reason.
[[noreturn]] void fail_with_reason(Kind kind, const std::string& what);

/// Passes TensorRT's lines to the service's log, and keeps errors for the thread where they occurred. Thread safe.
class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override;
};

}  // namespace trtserve::tensorrt
