#pragma once

#include <string>
#include <vector>

#include <NvInferRuntime.h>

namespace trtserve::tensorrt {

/// The runtime library (libnvinfer or libnvinfer_lean), opened and never closed: it keeps threads and exit
/// handlers of its own. Immutable and thread safe.
class Library {
 public:
  /// Opens the first of `candidates` (paths or names for the system's loader) that can be opened and is of the
  /// major version of the headers that this backend was compiled with. Unavailable, with what was wrong with
  /// each, where there is none.
  explicit Library(const std::vector<std::string>& candidates);

  /// "11.1.0.106", or "11.1.0" where the library does not tell its build.
  const std::string& version() const { return version_; }

  const std::string& path() const { return path_; }

  /// Null where neither the library nor what it depends on has a symbol of that name.
  void* find(const char* symbol) const;

  /// What nvinfer1::createInferRuntime does, on this library. The pointer means something only if `logger` saw
  /// no error: without a driver, TensorRT 11.4 logs one and returns garbage.
  nvinfer1::IRuntime* create_runtime(nvinfer1::ILogger& logger) const;

 private:
  /// An empty string, or what is wrong with the candidate.
  std::string open(const std::string& candidate);

  void* handle_ = nullptr;
  std::string path_;
  std::string version_;
};

}  // namespace trtserve::tensorrt
