#pragma once

#include <atomic>
#include <memory>
#include <sstream>
#include <string>

#include <NvInferRuntime.h>

namespace trtserve::fake::trt {

/// Reports an object's errors like the real library: to its error recorder, or, if it has none, to the runtime's
/// logger. Thread safe except for set_recorder().
class Reporter {
 public:
  explicit Reporter(nvinfer1::ILogger& logger) : logger_(logger) {}
  /// Starts with the parent's recorder.
  explicit Reporter(const Reporter& parent) : logger_(parent.logger_) { set_recorder(parent.recorder()); }
  ~Reporter() { set_recorder(nullptr); }
  Reporter& operator=(const Reporter&) = delete;

  nvinfer1::ILogger& logger() const { return logger_; }
  nvinfer1::IErrorRecorder* recorder() const { return recorder_; }
  void set_recorder(nvinfer1::IErrorRecorder* recorder);

  void warn(const std::string& sentence) const;

  /// `kind` is TensorRT's word for the failure, for example "Serialization".
  template <class... Parts>
  void error(nvinfer1::ErrorCode code, const char* function, const char* kind, const Parts&... parts) const {
    std::ostringstream sentence;
    (sentence << ... << parts);
    report(code, function, kind, sentence.str());
  }

  /// Reports an error of the application, and records a breach.
  template <class... Parts>
  void misuse(const char* function, const Parts&... parts) const {
    std::ostringstream sentence;
    (sentence << ... << parts);
    report_misuse(function, sentence.str());
  }

 private:
  void report(nvinfer1::ErrorCode code, const char* function, const char* kind, const std::string& sentence) const;
  void report_misuse(const char* function, const std::string& sentence) const;

  nvinfer1::ILogger& logger_;
  std::atomic<nvinfer1::IErrorRecorder*> recorder_{nullptr};
};

}  // namespace trtserve::fake::trt
