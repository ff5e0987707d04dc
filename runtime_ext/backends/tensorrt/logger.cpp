#include "backends/tensorrt/logger.h"

namespace trtserve::tensorrt {

namespace {

constexpr size_t kMostErrorText = 2000;  // characters kept; the log has the full text

thread_local ThreadErrors thread_errors;

trtserve::Severity severity_of(nvinfer1::ILogger::Severity severity) {
  switch (severity) {
    case nvinfer1::ILogger::Severity::kINTERNAL_ERROR:
    case nvinfer1::ILogger::Severity::kERROR:
      return trtserve::Severity::Error;
    case nvinfer1::ILogger::Severity::kWARNING:
      return trtserve::Severity::Warning;
    case nvinfer1::ILogger::Severity::kINFO:
      return trtserve::Severity::Info;
    case nvinfer1::ILogger::Severity::kVERBOSE:
      return trtserve::Severity::Debug;
  }
  return trtserve::Severity::Debug;
}

}  // namespace

void clear_errors() { thread_errors = {}; }

const ThreadErrors& errors() { return thread_errors; }

void add_error(const std::string& sentence) {
  auto& text = thread_errors.text;
  if (text.size() >= kMostErrorText) return;
  if (!text.empty()) text += "; ";
  text += sentence.substr(0, kMostErrorText);
}

void mark_out_of_memory() { thread_errors.out_of_memory = true; }

void fail_with_reason(Kind kind, const std::string& what) {
  fail(thread_errors.out_of_memory ? Kind::Unavailable : kind, what, thread_errors.text.empty() ? "" : ": ",
       thread_errors.text);
}

void report(trtserve::Severity severity, const char* message) noexcept {
  try {
    if (severity == trtserve::Severity::Error) add_error(message);
    log(severity, "tensorrt", message);
  } catch (...) {  // NOLINT(bugprone-empty-catch): no memory for a log line, so it cannot be reported
  }
}

void Logger::log(Severity severity, nvinfer1::AsciiChar const* message) noexcept {
  const auto level = severity_of(severity);
  // A load writes thousands of verbose lines: they would crowd the others out of the queue.
  if (level != trtserve::Severity::Debug) report(level, message);
}

}  // namespace trtserve::tensorrt
