#include "backends/tensorrt/allocator.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "backends/tensorrt/cuda_graph.h"
#include "backends/tensorrt/logger.h"
#include "core/device_health.h"

namespace trtserve::tensorrt {

namespace {

constexpr uint64_t kAlignment = 512;  // torch's blocks; cudaMalloc aligns to 256

thread_local AllocationTally* tally = nullptr;

/// Returns torch's stream for a native handle, if it is the current device's current or default stream.
std::optional<c10::Stream> torch_stream(const c10::impl::VirtualGuardImpl& guard, cudaStream_t stream) {
  const auto device = guard.getDevice();
  if (stream == nullptr) return guard.getDefaultStream(device);
  const auto current = guard.getStream(device);
  if (current.native_handle() == stream) return current;
  return std::nullopt;
}

}  // namespace

AllocationTally::AllocationTally() { tally = this; }

AllocationTally::~AllocationTally() { tally = nullptr; }

void* Allocator::allocateAsync(uint64_t size, uint64_t alignment, nvinfer1::AllocatorFlags /*flags*/,
                               cudaStream_t stream) noexcept {
  if (size == 0 || alignment > kAlignment) return nullptr;
  if (is_capturing()) {
    add_error("TensorRT asked for memory during a capture, which a replay would use after it was freed");
    return nullptr;
  }
  try {
    const c10::impl::VirtualGuardImpl guard(type_);
    const auto known = torch_stream(guard, stream);
    const auto owner = known.value_or(guard.getStream(guard.getDevice()));
    const c10::StreamGuard on(owner);
    Block block{at::getDeviceAllocator(type_)->allocate(size), size, owner};
    // Earlier work on its stream may still use the block. A block requested without a stream may be used on any.
    if (!known || stream == nullptr) owner.synchronize();
    void* address = block.memory.get();
    if (tally != nullptr) tally->bytes_ += static_cast<int64_t>(size);
    const std::lock_guard lock(mutex_);
    blocks_.emplace(address, std::move(block));
    return address;
  } catch (const c10::OutOfMemoryError& error) {
    mark_out_of_memory();
    add_error(reason_of(error));
  } catch (const std::exception& error) {
    add_error(reason_of(error));
  }
  return nullptr;
}

bool Allocator::deallocateAsync(void* memory, cudaStream_t stream) noexcept {
  if (memory == nullptr) return true;
  try {
    std::optional<Block> block;
    {
      const std::lock_guard lock(mutex_);
      auto found = blocks_.extract(memory);
      if (found.empty()) return false;
      block.emplace(std::move(found.mapped()));
    }
    if (tally != nullptr) tally->bytes_ -= static_cast<int64_t>(block->size);
    const c10::impl::VirtualGuardImpl guard(type_);
    const auto known = torch_stream(guard, stream);
    if (!known) {
      guard.synchronizeDevice(block->stream.device_index());
    } else if (*known != block->stream) {
      guard.recordDataPtrOnStream(block->memory, *known);
    }
    // TensorRT 8 names no stream. Its own allocator frees with cudaFree, which waits for the device, so it may free
    // what the work of an enqueueV3 still uses on the thread's stream.
    const auto current = guard.getStream(guard.getDevice());
    if (stream == nullptr && current != block->stream) guard.recordDataPtrOnStream(block->memory, current);
    return true;
  } catch (const std::exception& error) {
    add_error(error.what());
    return false;
  }
}

}  // namespace trtserve::tensorrt
