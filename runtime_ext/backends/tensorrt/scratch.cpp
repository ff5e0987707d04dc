#include "backends/tensorrt/scratch.h"

#include <ATen/Functions.h>
#include <c10/core/StreamGuard.h>

namespace trtserve::tensorrt {

Scratch::Scratch(at::Device device, c10::Stream stream, std::atomic<int64_t>& total)
    : device_(device), stream_(stream), total_(total) {}

Scratch::~Scratch() { total_ -= size(); }

void Scratch::reserve(int64_t bytes) {
  if (bytes <= size()) return;
  // Free the smaller block first: on a full device, both together may not fit.
  total_ -= size();
  memory_.reset();
  ++generation_;
  {
    const c10::StreamGuard on(stream_);
    memory_ = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(device_));
    // Executions run on other streams too; earlier work on this stream may still use the block.
    stream_.synchronize();
  }
  total_ += bytes;
}

}  // namespace trtserve::tensorrt
