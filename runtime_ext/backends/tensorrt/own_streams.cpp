#include "backends/tensorrt/own_streams.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace trtserve::tensorrt {

namespace {

/// The streams that have no owner now. Thread safe.
struct Unowned {
  std::mutex mutex;
  std::map<c10::DeviceIndex, std::vector<cudaStream_t>> streams;  // guarded by mutex; by device

  static Unowned& get() {
    // Never destroyed: owners may end until the process does.
    static Unowned& unowned = *std::make_unique<Unowned>().release();
    return unowned;
  }
};

cudaStream_t take(const CudaApi& api, c10::DeviceIndex device) {
  auto& unowned = Unowned::get();
  {
    const std::lock_guard lock(unowned.mutex);
    auto& streams = unowned.streams[device];
    if (!streams.empty()) {
      const auto stream = streams.back();
      streams.pop_back();
      return stream;
    }
  }
  cudaStream_t stream = nullptr;
  api.check(api.create_stream(&stream, cudaStreamNonBlocking), "create a stream");
  return stream;
}

/// torch's name for a CUDA stream that it did not create: its ID is the stream's address, whose last bit is 0
/// (c10/cuda/CUDAStream.cpp, "external stream").
c10::Stream as_torch(at::Device device, cudaStream_t stream) {
  return c10::Stream(c10::Stream::UNSAFE, device, static_cast<c10::StreamId>(reinterpret_cast<intptr_t>(stream)));
}

class OwnStream final : public DeviceStream {
 public:
  OwnStream(std::shared_ptr<const CudaApi> api, at::Device device, Wait wait)
      : api_(std::move(api)),
        device_(device),
        done_(*api_, wait),
        handle_(take(*api_, device.index())),
        stream_(as_torch(device, handle_)) {}
  ~OwnStream() override {
    auto& unowned = Unowned::get();
    const std::lock_guard lock(unowned.mutex);
    unowned.streams[device_.index()].push_back(handle_);
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;

  c10::Stream stream() const override { return stream_; }

  void wait() override {
    done_.record(handle_);
    done_.wait();
  }

 private:
  const std::shared_ptr<const CudaApi> api_;
  const at::Device device_;
  CudaEvent done_;
  const cudaStream_t handle_;
  const c10::Stream stream_;
};

}  // namespace

std::unique_ptr<DeviceStream> own_stream(std::shared_ptr<const CudaApi> api, at::Device device, Wait wait) {
  return std::make_unique<OwnStream>(std::move(api), device, wait);
}

}  // namespace trtserve::tensorrt
