#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "reporter.h"

namespace trtserve::fake::trt {

/// Opens plugin libraries, recognized by `getCreators` or `getPluginCreators`. Thread safe.
class PluginRegistry final : public nvinfer1::IPluginRegistry {
 public:
  explicit PluginRegistry(nvinfer1::ILogger& logger) : reporter_(logger) {}
  ~PluginRegistry() override = default;

  void setErrorRecorder(nvinfer1::IErrorRecorder* recorder) noexcept override;
  nvinfer1::IErrorRecorder* getErrorRecorder() const noexcept override;
  PluginLibraryHandle loadLibrary(nvinfer1::AsciiChar const* path) noexcept override;
  void deregisterLibrary(PluginLibraryHandle handle) noexcept override;

 private:
  Reporter reporter_;
  std::mutex mutex_;
  std::set<void*> libraries_;  // guarded by mutex_
};

}  // namespace trtserve::fake::trt
