#include "backends/tensorrt/build_log.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace trtserve::tensorrt {

namespace {

constexpr size_t kMostErrorText = 2000;  // characters kept; the log has the full text

/// TensorRT's words where the device or the host ran out of memory.
constexpr std::array<std::string_view, 4> kOutOfMemory = {"OutOfMemory", "out of memory", "could not be allocated",
                                                          "bad_alloc"};

bool is_out_of_memory(const std::string& text) {
  return std::any_of(kOutOfMemory.begin(), kOutOfMemory.end(),
                     [&](const auto words) { return text.find(words) != std::string::npos; });
}

}  // namespace

void BuildLog::log(Severity severity, nvinfer1::AsciiChar const* message) noexcept {
  service_log_.log(severity, message);
  if (severity > Severity::kERROR || message == nullptr) return;
  try {
    const std::lock_guard lock(mutex_);
    if (errors_.size() >= kMostErrorText) return;
    if (!errors_.empty()) errors_ += "; ";
    errors_ += std::string(message).substr(0, kMostErrorText);
  } catch (...) {  // NOLINT(bugprone-empty-catch): no memory to keep the line
  }
}

void BuildLog::clear() {
  clear_errors();
  const std::lock_guard lock(mutex_);
  errors_.clear();
}

std::string BuildLog::errors() const {
  const std::lock_guard lock(mutex_);
  return errors_.empty() ? tensorrt::errors().text : errors_;
}

void BuildLog::fail_with_errors(Kind kind, const std::string& what) const {
  const std::string reason = errors();
  if (tensorrt::errors().out_of_memory || is_out_of_memory(reason)) kind = Kind::Unavailable;
  fail(kind, what, reason.empty() ? "" : ": ", reason);
}

}  // namespace trtserve::tensorrt
