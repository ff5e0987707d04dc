#pragma once

#include <atomic>

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

namespace trtserve::tensorrt {

/// The working memory of one instance, which all its contexts use, one at a time: its size is that of the largest
/// execution so far, not the sum over the profiles. Not thread safe; resized only while no work uses it.
class Scratch {
 public:
  /// `total` counts the bytes of all instances of an engine.
  Scratch(at::Device device, c10::Stream stream, std::atomic<int64_t>& total);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// Grows it to at least `bytes`. If that fails, no memory is left, and the next block may be smaller.
  void reserve(int64_t bytes);

  /// Changes with every new block, even at the same address: a graph captured with another generation must be captured
  /// again.
  uint64_t generation() const { return generation_; }

  /// Null if no scratch memory was ever needed.
  void* data() const { return memory_.defined() ? memory_.mutable_data_ptr() : nullptr; }
  int64_t size() const { return memory_.defined() ? memory_.numel() : 0; }

 private:
  const at::Device device_;
  const c10::Stream stream_;
  std::atomic<int64_t>& total_;
  at::Tensor memory_;  // bytes
  uint64_t generation_ = 0;
};

}  // namespace trtserve::tensorrt
