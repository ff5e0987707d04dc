#include "core/host_copy.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>

#include <ATen/Parallel.h>

namespace trtserve {

namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kLarge = 4 * kChunk;  // waking helpers takes as long as one thread's copy of some 100 KiB
constexpr size_t kMostHelpers = 3;

/// One copy in chunks, which the caller and its helpers take one after the other. The helpers share it: one that
/// begins late finds nothing left and touches no memory of the caller. Thread safe.
class Copy {
 public:
  Copy(void* to, const void* from, size_t bytes)
      : to_(static_cast<std::byte*>(to)), from_(static_cast<const std::byte*>(from)), bytes_(bytes) {}

  size_t chunks() const { return (bytes_ + kChunk - 1) / kChunk; }

  void help() {
    for (size_t chunk = next_++; chunk < chunks(); chunk = next_++) {
      const size_t begin = chunk * kChunk;
      std::memcpy(to_ + begin, from_ + begin, std::min(kChunk, bytes_ - begin));
      const std::lock_guard lock(mutex_);
      if (++done_ == chunks()) all_done_.notify_one();
    }
  }

  void finish() {
    help();
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == chunks(); });
  }

 private:
  std::byte* const to_;
  const std::byte* const from_;
  const size_t bytes_;
  std::atomic<size_t> next_{0};  // the first chunk that nobody has taken
  std::mutex mutex_;
  std::condition_variable all_done_;
  size_t done_ = 0;  // guarded by mutex_; chunks
};

}  // namespace

void copy_on_host(void* to, const void* from, size_t bytes) {
  if (bytes < kLarge) {
    if (bytes != 0) std::memcpy(to, from, bytes);
    return;
  }
  const auto copy = std::make_shared<Copy>(to, from, bytes);
  const size_t helpers = std::min(kMostHelpers, at::get_num_interop_threads() - 1);
  try {
    for (size_t i = 0; i < helpers; ++i) at::launch([copy] { copy->help(); });
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): there is no thread to help, so it takes longer
  }
  copy->finish();
}

}  // namespace trtserve
