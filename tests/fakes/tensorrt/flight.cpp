#include "flight.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "contract.h"

namespace trtserve::fake::trt {

namespace {

struct Entry {
  uint64_t number;
  const Flight* flight;
  const Stream* stream;
  const char* scratch;
  int64_t scratch_bytes;

  bool overlaps(const Entry& other) const {
    return scratch < other.scratch + other.scratch_bytes && other.scratch < scratch + scratch_bytes;
  }
};

/// The unfinished work of all contexts.
struct Board {
  std::mutex mutex;
  std::vector<Entry> entries;  // guarded by mutex
  uint64_t last_number = 0;    // guarded by mutex
};

/// Never destroyed: streams finish work until the process ends.
Board& board() {
  static auto* const the_one = new Board;  // NOLINT(cppcoreguidelines-owning-memory)
  return *the_one;
}

void check(const char* function, const Entry& entry, const std::vector<Entry>& others) {
  bool twice = false;
  bool shared = false;
  for (const auto& other : others) {
    if (other.stream == entry.stream) continue;
    twice |= other.flight == entry.flight;
    shared |= other.flight != entry.flight && other.overlaps(entry);
  }
  if (twice) breached(function, ": the context has unfinished work on another stream");
  if (shared) breached(function, ": the scratch memory is in use by another context's unfinished work");
}

}  // namespace

uint64_t Flight::begin(const char* function, const Stream& stream, const void* scratch, int64_t scratch_bytes) {
  if (ended_) breached(function, ": runs work of a destroyed execution context");
  const std::lock_guard lock(board().mutex);
  const Entry entry{++board().last_number, this, &stream, static_cast<const char*>(scratch), scratch_bytes};
  check(function, entry, board().entries);
  board().entries.push_back(entry);
  return entry.number;
}

void Flight::finish(uint64_t number) {
  const std::lock_guard lock(board().mutex);
  std::erase_if(board().entries, [&](const Entry& entry) { return entry.number == number; });
}

int Flight::unfinished() const {
  const std::lock_guard lock(board().mutex);
  return static_cast<int>(std::count_if(board().entries.begin(), board().entries.end(),
                                        [&](const Entry& entry) { return entry.flight == this; }));
}

void Flight::end() {
  ended_ = true;
  if (unfinished() > 0) breached("delete: an execution context was destroyed while its work was unfinished");
}

}  // namespace trtserve::fake::trt
