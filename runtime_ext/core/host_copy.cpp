#include "core/host_copy.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>

#include <ATen/Parallel.h>

#include "core/error.h"

namespace trtserve {

namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kLarge = 4 * kChunk;  // waking helpers takes as long as one thread's copy of some 100 KiB
constexpr size_t kMostHelpers = 3;

constexpr int kEnded = -1;  // the file ended too early

/// Returns 0, an errno, or kEnded.
int read_file(std::byte* to, int file, int64_t position, size_t bytes) {
  while (bytes != 0) {
    const ssize_t read = pread(file, to, bytes, position);
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return errno;
    if (read == 0) return kEnded;
    to += read;
    position += read;
    bytes -= static_cast<size_t>(read);
  }
  return 0;
}

/// Returns 0, an errno, or kEnded.
int copy_block(std::byte* to, const HostBytes& from, size_t begin, size_t bytes) {
  if (!from.in_memory()) return read_file(to, from.file, from.position + static_cast<int64_t>(begin), bytes);
  if (bytes != 0) std::memcpy(to, static_cast<const std::byte*>(from.memory) + begin, bytes);
  return 0;
}

void check(int result) {
  if (result == kEnded) fail(Kind::Conflict, "the shared memory of an input has been shortened since it was checked");
  if (result != 0)
    fail(Kind::Conflict, "the shared memory of an input cannot be read: ", std::generic_category().message(result));
}

/// One copy in chunks, which the caller and its helpers take one after the other. The helpers share it: one that
/// begins late finds nothing left and touches no memory of the caller. Thread safe.
class Copy {
 public:
  Copy(std::byte* to, const HostBytes& from, size_t bytes) : to_(to), from_(from), bytes_(bytes) {}

  size_t chunks() const { return (bytes_ + kChunk - 1) / kChunk; }

  void help() {
    for (size_t chunk = next_++; chunk < chunks(); chunk = next_++) {
      const size_t begin = chunk * kChunk;
      const int result = copy_block(to_ + begin, from_, begin, std::min(kChunk, bytes_ - begin));
      const std::lock_guard lock(mutex_);
      if (result != 0) result_ = result;
      if (++done_ == chunks()) all_done_.notify_one();
    }
  }

  /// Returns 0, or what a chunk failed with, like copy_block().
  int finish() {
    help();
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [this] { return done_ == chunks(); });
    return result_;
  }

 private:
  std::byte* const to_;
  const HostBytes from_;
  const size_t bytes_;
  std::atomic<size_t> next_{0};  // the first chunk that nobody has taken
  std::mutex mutex_;
  std::condition_variable all_done_;
  size_t done_ = 0;  // guarded by mutex_; chunks
  int result_ = 0;   // guarded by mutex_
};

}  // namespace

void copy_on_host(void* to, const HostBytes& from, size_t bytes) {
  auto* const begin = static_cast<std::byte*>(to);
  if (bytes < kLarge) {
    check(copy_block(begin, from, 0, bytes));
    return;
  }
  const auto copy = std::make_shared<Copy>(begin, from, bytes);
  const size_t helpers = std::min(kMostHelpers, at::get_num_interop_threads() - 1);
  try {
    for (size_t i = 0; i < helpers; ++i) at::launch([copy] { copy->help(); });
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): there is no thread to help, so it takes longer
  }
  check(copy->finish());
}

}  // namespace trtserve
