#pragma once

#include <string>
#include <vector>

#include <NvInferRuntime.h>

namespace trtserve::tensorrt {

/// The runtime library (libnvinfer or libnvinfer_lean), opened and never closed: it keeps its own threads and exit
/// handlers. Immutable and thread safe.
class Library {
 public:
  /// Opens the first of `candidates` (paths or names for the system's loader) that can be opened and is of the major
  /// version of the headers that this backend was compiled with. Unavailable, with the fault of each, if there is none.
  explicit Library(const std::vector<std::string>& candidates);

  /// "11.1.0.106", or "11.1.0" if the library does not report its build.
  const std::string& version() const { return version_; }

  const std::string& path() const { return path_; }

  /// Returns null if neither the library nor its dependencies have a symbol of that name.
  void* find(const char* symbol) const;

  /// Like nvinfer1::createInferRuntime, on this library. The pointer is valid only if `logger` got no error: without a
  /// driver, TensorRT 11.4 logs one and returns garbage.
  nvinfer1::IRuntime* create_runtime(nvinfer1::ILogger& logger) const;

 private:
  /// Opens the candidate; returns its fault, or an empty string.
  std::string open(const std::string& candidate);

  void* handle_ = nullptr;
  std::string path_;
  std::string version_;
};

}  // namespace trtserve::tensorrt
