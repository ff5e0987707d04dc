#include "cuda_status.h"

#include <string>
#include <utility>

namespace trtserve::fake::trt {

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string break_reason;

}  // namespace

cudaError_t answer(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

cudaError_t broken(const char* reason) {
  break_reason = reason;
  return cudaErrorUnknown;
}

const char* reason_of_break() { return break_reason.empty() ? "unknown error" : break_reason.c_str(); }

cudaError_t take_last_error() { return std::exchange(last_error, cudaSuccess); }

}  // namespace trtserve::fake::trt

namespace trt = trtserve::fake::trt;

EXPORTED cudaError_t cudaGetLastError() { return trt::take_last_error(); }

EXPORTED const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return trt::reason_of_break();
  }
}
