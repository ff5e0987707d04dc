#include "core/module_memory.h"

#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime() is POSIX's

#include <atomic>
#include <memory>
#include <mutex>

#include <c10/core/CPUAllocator.h>

#include "core/error.h"
#include "core/graph_run.h"
#include "core/host_memory.h"

namespace trtserve {

namespace {

constexpr int64_t kLookEveryMs = 20;
constexpr int64_t kShare = 8;  // of what is left, a part that modules may take before the next look
constexpr int64_t kMiB = int64_t{1} << 20;

/// Milliseconds, exact to the kernel's tick: cheaper than the exact time, and each step of a loop asks.
int64_t coarse_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

[[noreturn]] void refuse(int64_t bytes, int64_t available) {
  fail(Kind::Unavailable, "the module needs more memory than is available: it asked for ", bytes / kMiB, " MiB, and ",
       available / kMiB, " MiB are available, of which ", kKeptFromModules / kMiB,
       " are kept for the rest of the server");
}

/// What modules have taken since the last look at the system. Thread safe.
class Looks {
 public:
  void about_to_take(int64_t bytes) {
    const auto now = coarse_now();
    if (credit_.fetch_sub(bytes) > bytes && now - looked_ms_ < kLookEveryMs) return;
    const auto available = available_host_memory();
    if (!available) {
      credit_ = kMiB;
      looked_ms_ = now;
      return;
    }
    const auto left = *available - bytes - kKeptFromModules;
    if (left < 0) {
      credit_ = 0;  // the next one looks too
      refuse(bytes, *available);
    }
    credit_ = left / kShare;
    looked_ms_ = now;
  }

 private:
  std::atomic<int64_t> credit_{0};
  std::atomic<int64_t> looked_ms_{0};
};

Looks& looks() {
  static Looks looks;
  return looks;
}

/// torch's own allocator, asked after the check.
class GuardedAllocator final : public c10::Allocator {
 public:
  explicit GuardedAllocator(c10::Allocator& inner) : inner_(inner) {}
  c10::DataPtr allocate(size_t bytes) override {
    if (const auto* run = GraphRun::current(); run != nullptr && run->is_of_module()) {
      check_module_memory(static_cast<int64_t>(bytes));
    }
    return inner_.allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return inner_.raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { inner_.copy_data(to, from, bytes); }

 private:
  c10::Allocator& inner_;
};

}  // namespace

void guard_module_memory() {
  static std::once_flag done;
  std::call_once(done, [] {
    // Never destroyed: tensors are made until the process ends.
    c10::SetCPUAllocator(std::make_unique<GuardedAllocator>(*c10::GetCPUAllocator()).release());
  });
}

void check_module_memory(int64_t bytes) {
  try {
    looks().about_to_take(bytes);
  } catch (const Error& error) {
    if (auto* run = GraphRun::current()) run->keep(error);
    throw;
  }
}

}  // namespace trtserve
