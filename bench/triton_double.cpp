// OUTPUT0 = INPUT0 + INPUT0 (FP32) as a Triton backend, in its C++ interface: the cheapest possible engine.
// bench/triton.py builds it. It answers each request of a batch directly from its own buffers, without a backend's
// usual joining and statistics, so that it measures the server around it.
//
// Declares the used part of triton/core/tritonbackend.h and tritonserver.h (API version 1), since the Python packages
// do not contain these headers. Their enumerations are ints.

#include <cstdint>

extern "C" {

struct TRITONSERVER_Error;
struct TRITONBACKEND_Input;
struct TRITONBACKEND_ModelInstance;
struct TRITONBACKEND_Output;
struct TRITONBACKEND_Request;
struct TRITONBACKEND_Response;

TRITONSERVER_Error* TRITONBACKEND_RequestInput(TRITONBACKEND_Request*, const char* name, TRITONBACKEND_Input**);
TRITONSERVER_Error* TRITONBACKEND_RequestRelease(TRITONBACKEND_Request*, uint32_t flags);
TRITONSERVER_Error* TRITONBACKEND_InputProperties(TRITONBACKEND_Input*, const char** name, int* datatype,
                                                  const int64_t** shape, uint32_t* dims, uint64_t* bytes,
                                                  uint32_t* buffers);
TRITONSERVER_Error* TRITONBACKEND_InputBuffer(TRITONBACKEND_Input*, uint32_t index, const void** data, uint64_t* bytes,
                                              int* memory, int64_t* memory_id);
TRITONSERVER_Error* TRITONBACKEND_ResponseNew(TRITONBACKEND_Response**, TRITONBACKEND_Request*);
TRITONSERVER_Error* TRITONBACKEND_ResponseOutput(TRITONBACKEND_Response*, TRITONBACKEND_Output**, const char* name,
                                                 int datatype, const int64_t* shape, uint32_t dims);
TRITONSERVER_Error* TRITONBACKEND_OutputBuffer(TRITONBACKEND_Output*, void** data, uint64_t bytes, int* memory,
                                               int64_t* memory_id);
TRITONSERVER_Error* TRITONBACKEND_ResponseSend(TRITONBACKEND_Response*, uint32_t flags, TRITONSERVER_Error*);

}  // extern "C"

namespace {

constexpr uint32_t kFinal = 1;       // TRITONSERVER_RESPONSE_COMPLETE_FINAL
constexpr uint32_t kReleaseAll = 1;  // TRITONSERVER_REQUEST_RELEASE_ALL

// Fills the response; returns the error to send with it, or null. The model has KIND_CPU, so all memory is on the host.
TRITONSERVER_Error* answer(TRITONBACKEND_Request* request, TRITONBACKEND_Response* response) {
  TRITONBACKEND_Input* input = nullptr;
  if (auto* error = TRITONBACKEND_RequestInput(request, "INPUT0", &input)) return error;
  const char* name = nullptr;
  int datatype = 0;
  const int64_t* shape = nullptr;
  uint32_t dims = 0;
  uint64_t bytes = 0;
  uint32_t buffers = 0;
  if (auto* error = TRITONBACKEND_InputProperties(input, &name, &datatype, &shape, &dims, &bytes, &buffers))
    return error;
  TRITONBACKEND_Output* output = nullptr;
  if (auto* error = TRITONBACKEND_ResponseOutput(response, &output, "OUTPUT0", datatype, shape, dims)) return error;
  void* data = nullptr;
  int memory = 0;
  int64_t memory_id = 0;
  if (auto* error = TRITONBACKEND_OutputBuffer(output, &data, bytes, &memory, &memory_id)) return error;
  auto* y = static_cast<float*>(data);
  for (uint32_t index = 0; index < buffers; ++index) {
    const void* part = nullptr;
    if (auto* error = TRITONBACKEND_InputBuffer(input, index, &part, &bytes, &memory, &memory_id)) return error;
    const auto* x = static_cast<const float*>(part);
    for (uint64_t i = 0; i < bytes / sizeof(float); ++i) *y++ = x[i] + x[i];
  }
  return nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance*, TRITONBACKEND_Request** requests, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_Response* response = nullptr;
    if (TRITONBACKEND_ResponseNew(&response, requests[i]) == nullptr)
      TRITONBACKEND_ResponseSend(response, kFinal, answer(requests[i], response));
    TRITONBACKEND_RequestRelease(requests[i], kReleaseAll);
  }
  return nullptr;
}
