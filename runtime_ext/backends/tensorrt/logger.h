#pragma once

#include <string>

#include <NvInferRuntime.h>

#include "core/error.h"
#include "core/log.h"

namespace trtserve::tensorrt {

/// What TensorRT, and our callbacks in it, said went wrong on this thread since the last clear_errors():
/// TensorRT's calls answer with null or false and leave the reason here.
struct ThreadErrors {
  std::string text;            ///< the sentences joined by "; ", the first few of them
  bool out_of_memory = false;  ///< an allocation failed
};

void clear_errors();
const ThreadErrors& errors();
void add_error(const std::string& sentence);
void mark_out_of_memory();

/// Puts a line of TensorRT's into the service's log; an error is one of the thread's as well.
void report(trtserve::Severity severity, const char* message) noexcept;

/// Throws Unavailable where the reason that was left is memory, else an Error of the kind given; the sentence is
/// `what` with the reason behind it.
[[noreturn]] void fail_with_reason(Kind kind, const std::string& what);

/// Feeds the service's log, and keeps errors for the thread that they came on. Thread safe.
class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override;
};

}  // namespace trtserve::tensorrt
