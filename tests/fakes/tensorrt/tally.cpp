#include "tally.h"

#include <map>
#include <mutex>

#include "fake_trt.h"

namespace trtserve::fake::trt {

namespace {

struct Tally {
  std::mutex mutex;
  std::map<std::string, int64_t> calls;  // guarded by mutex
  std::map<std::string, int64_t> live;   // guarded by mutex
  int64_t allocated = 0;                 // guarded by mutex
};

/// Never destroyed: streams and late destructors count until the process ends.
Tally& tally() {
  static auto* const the_one = new Tally;  // NOLINT(cppcoreguidelines-owning-memory)
  return *the_one;
}

int64_t look_up(const std::map<std::string, int64_t>& numbers, const char* name) {
  const auto found = numbers.find(name);
  return found == numbers.end() ? 0 : found->second;
}

}  // namespace

void count_call(const char* function) {
  const std::lock_guard lock(tally().mutex);
  ++tally().calls[function];
}

void count_live(const char* what, int64_t change) {
  const std::lock_guard lock(tally().mutex);
  tally().live[what] += change;
}

void count_allocated(int64_t change) {
  const std::lock_guard lock(tally().mutex);
  tally().allocated += change;
}

}  // namespace trtserve::fake::trt

using trtserve::fake::trt::tally;

int64_t fake_trt_count(const char* function) {
  const std::lock_guard lock(tally().mutex);
  return trtserve::fake::trt::look_up(tally().calls, function);
}

int64_t fake_trt_live(const char* what) {
  const std::lock_guard lock(tally().mutex);
  return trtserve::fake::trt::look_up(tally().live, what);
}

int64_t fake_trt_allocated() {
  const std::lock_guard lock(tally().mutex);
  return tally().allocated;
}
