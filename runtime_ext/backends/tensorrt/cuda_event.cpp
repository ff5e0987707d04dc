#include "backends/tensorrt/cuda_event.h"

namespace trtserve::tensorrt {

CudaEvent::CudaEvent(const CudaApi& api, Wait wait) : api_(api), event_(nullptr, api.destroy_event) {
  const unsigned flags = cudaEventDisableTiming | (wait == Wait::Sleep ? cudaEventBlockingSync : 0U);
  cudaEvent_t event = nullptr;
  api.check(api.create_event(&event, flags), "create an event");
  event_.reset(event);
}

void CudaEvent::record(cudaStream_t stream) { api_.check(api_.record_event(event_.get(), stream), "record an event"); }

void CudaEvent::wait() const { api_.check(api_.synchronize_event(event_.get()), "finish the work"); }

bool CudaEvent::passed() const {
  const cudaError_t status = api_.query_event(event_.get());
  if (status == cudaErrorNotReady) {
    api_.get_last_error();
    return false;
  }
  api_.check(status, "query an event");
  return true;
}

}  // namespace trtserve::tensorrt
