#include "core/module_memory.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include <c10/core/CPUAllocator.h>

#include "core/coarse_time.h"
#include "core/error.h"
#include "core/graph_run.h"
#include "core/host_memory.h"
#include "core/memory.h"

namespace trtserve {

namespace {

constexpr int64_t kLookEveryMs = 20;
constexpr int64_t kShare = 8;  // of what is left, a part that modules may take before the next look
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kMostAsked = int64_t{1} << 50;  // more than any machine has: sums of these cannot overflow
constexpr int64_t kMostKept = 256 * kMiB;
constexpr int64_t kKeptPart = 4;  // of what is available at first

[[noreturn]] void refuse(int64_t bytes, int64_t available, int64_t kept) {
  fail(Kind::Unavailable, "the module needs more memory than is available: it asked for ", bytes / kMiB, " MiB, and ",
       available / kMiB, " MiB are available, of which ", kept / kMiB, " are kept for the rest of the server");
}

/// What modules have taken since the last look at the system. Thread safe.
class Looks {
 public:
  explicit Looks(std::optional<int64_t> available) : kept_(std::min(available.value_or(0) / kKeptPart, kMostKept)) {}

  void about_to_take(int64_t bytes) {
    const auto now = coarse_now_ms();
    if (now - looked_ms_ < kLookEveryMs && take_credit(bytes)) return;
    auto available = available_host_memory();
    if (available && *available < bytes + kept_) {
      release_unused(at::kCPU);  // the heap may hold what earlier executions took
      available = available_host_memory();
    }
    if (available && *available < bytes + kept_) {
      credit_ = 0;  // the next one looks too
      refuse(bytes, *available, kept_);
    }
    credit_ = available ? (*available - bytes - kept_) / kShare : kMiB;
    looked_ms_ = now;
  }

 private:
  bool take_credit(int64_t bytes) {
    auto credit = credit_.load();
    while (credit > bytes) {
      if (credit_.compare_exchange_weak(credit, credit - bytes)) return true;
    }
    return false;
  }

  const int64_t kept_;
  std::atomic<int64_t> credit_{0};
  std::atomic<int64_t> looked_ms_{0};
};

Looks& looks() {
  static Looks looks(available_host_memory());
  return looks;
}

/// torch's own allocator, asked after the check.
class GuardedAllocator final : public c10::Allocator {
 public:
  explicit GuardedAllocator(c10::Allocator& inner) : inner_(inner) {}
  c10::DataPtr allocate(size_t bytes) override {
    check_module_memory(static_cast<int64_t>(bytes));
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
    looks();
    // Never destroyed: tensors are made until the process ends.
    c10::SetCPUAllocator(std::make_unique<GuardedAllocator>(*c10::GetCPUAllocator()).release());
  });
}

void check_module_memory(int64_t bytes) {
  if (bytes < 0 || bytes > kMostAsked) bytes = kMostAsked;
  auto* run = GraphRun::current();
  if (run == nullptr || !run->is_of_module() || !run->takes_much(bytes)) return;
  try {
    looks().about_to_take(bytes);
  } catch (const Error& error) {
    run->keep(error);
    throw;
  }
}

}  // namespace trtserve
