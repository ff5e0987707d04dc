#include "backends/tensorrt/error_recorder.h"

#include <cstring>

#include "backends/tensorrt/logger.h"

namespace trtserve::tensorrt {

int32_t ErrorRecorder::getNbErrors() const noexcept {
  const std::lock_guard lock(mutex_);
  return static_cast<int32_t>(count_);
}

nvinfer1::ErrorCode ErrorRecorder::getErrorCode(int32_t index) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto at = static_cast<size_t>(index);
  return index < 0 || at >= count_ ? nvinfer1::ErrorCode::kINVALID_ARGUMENT : entries_[at].code;
}

ErrorRecorder::ErrorDesc ErrorRecorder::getErrorDesc(int32_t index) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto at = static_cast<size_t>(index);
  return index < 0 || at >= count_ ? "" : entries_[at].description.data();
}

bool ErrorRecorder::hasOverflowed() const noexcept {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

void ErrorRecorder::clear() noexcept {
  const std::lock_guard lock(mutex_);
  count_ = 0;
  overflowed_ = false;
}

bool ErrorRecorder::reportError(nvinfer1::ErrorCode code, ErrorDesc description) noexcept {
  if (code == nvinfer1::ErrorCode::kSUCCESS) return false;
  if (code == nvinfer1::ErrorCode::kFAILED_ALLOCATION) mark_out_of_memory();
  report(trtserve::Severity::Error, description);
  const std::lock_guard lock(mutex_);
  if (count_ == kMostErrors) {
    overflowed_ = true;
  } else {
    auto& entry = entries_[count_++];
    entry.code = code;
    std::strncpy(entry.description.data(), description, kMAX_DESC_LENGTH);
    entry.description.back() = '\0';
  }
  return true;
}

}  // namespace trtserve::tensorrt
