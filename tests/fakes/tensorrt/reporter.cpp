#include "reporter.h"

#include "contract.h"

namespace trtserve::fake::trt {

using nvinfer1::ErrorCode;
using nvinfer1::ILogger;

void Reporter::set_recorder(nvinfer1::IErrorRecorder* recorder) {
  if (recorder != nullptr) recorder->incRefCount();
  auto* before = recorder_.exchange(recorder);
  if (before != nullptr) before->decRefCount();
}

void Reporter::warn(const std::string& sentence) const { logger_.log(ILogger::Severity::kWARNING, sentence.c_str()); }

void Reporter::report(ErrorCode code, const char* function, const char* kind, const std::string& sentence) const {
  std::ostringstream message;
  message << "[engine.cpp::" << function << "::1] Error Code " << static_cast<int32_t>(code) << ": " << kind << " ("
          << sentence << ")";
  auto* const to = recorder();
  if (to != nullptr) {
    to->reportError(code, message.str().c_str());
  } else {
    logger_.log(ILogger::Severity::kERROR, message.str().c_str());
  }
}

void Reporter::report_misuse(const char* function, const std::string& sentence) const {
  breached(function, ": ", sentence);
  report(ErrorCode::kINVALID_ARGUMENT, function, "API Usage Error", sentence);
}

}  // namespace trtserve::fake::trt
