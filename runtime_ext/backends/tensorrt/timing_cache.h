#pragma once

#include <memory>
#include <string>

#include "backends/tensorrt/build_log.h"

namespace nvinfer1 {
class IBuilderConfig;
class ITimingCache;
}  // namespace nvinfer1

namespace trtserve::tensorrt {

/// The builder's measurements of kernels, kept in a file from one build to the next. The file has a header of ours with
/// TensorRT's version and a checksum, because TensorRT trusts what it reads; TensorRT itself compares the GPU. Not
/// thread safe.
class TimingCache {
 public:
  /// `version` of the library. `file` may not exist, or be of no use: it is then ignored, with a line in the log.
  TimingCache(std::string file, std::string version);
  TimingCache(const TimingCache&) = delete;
  TimingCache& operator=(const TimingCache&) = delete;
  ~TimingCache();

  /// Hands the measurements to a build. The cache outlives `config`. ExecutionFailed if TensorRT takes not even an
  /// empty one.
  void attach(nvinfer1::IBuilderConfig& config, BuildLog& log);

  /// Replaces the file with the measurements after the build, in one step. A failure is only logged: the plan is built.
  void save() const;

 private:
  bool offer(nvinfer1::IBuilderConfig& config, const std::string& measurements);

  const std::string file_;
  const std::string version_;
  std::unique_ptr<nvinfer1::ITimingCache> cache_;
};

}  // namespace trtserve::tensorrt
