#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include <NvInferRuntime.h>

namespace trtserve::tensorrt {

/// Passes errors to the service's log and the thread's errors, like the logger: TensorRT objects with a recorder report
/// to it instead. Keeps the process's first errors with their codes, which TensorRT's own code may query. Thread safe.
class ErrorRecorder final : public nvinfer1::IErrorRecorder {
 public:
  int32_t getNbErrors() const noexcept override;
  nvinfer1::ErrorCode getErrorCode(int32_t index) const noexcept override;
  /// Valid until clear().
  ErrorDesc getErrorDesc(int32_t index) const noexcept override;
  bool hasOverflowed() const noexcept override;
  void clear() noexcept override;
  bool reportError(nvinfer1::ErrorCode code, ErrorDesc description) noexcept override;
  RefCount incRefCount() noexcept override { return ++references_; }
  RefCount decRefCount() noexcept override { return --references_; }

 private:
  static constexpr size_t kMostErrors = 16;
  struct Entry {
    nvinfer1::ErrorCode code;
    std::array<char, kMAX_DESC_LENGTH + 1> description;
  };

  mutable std::mutex mutex_;                  // protects the entries; never held while TensorRT is called
  std::array<Entry, kMostErrors> entries_{};  // guarded by mutex_; an entry's address never changes
  size_t count_ = 0;                          // guarded by mutex_
  bool overflowed_ = false;                   // guarded by mutex_
  std::atomic<RefCount> references_{0};
};

}  // namespace trtserve::tensorrt
