#include "contract.h"

#include <algorithm>

namespace trtserve::fake::trt {

void Presence::enter(const std::string& object, const char* function, Use use) {
  {
    const std::lock_guard lock(mutex_);
    const auto self = std::this_thread::get_id();
    for (const auto& visit : visits_) {
      if (visit.thread == self || (use == Use::Shared && visit.use == Use::Shared)) continue;
      breached(function, ": called on an ", object, " while another thread was in its ", visit.function);
      break;
    }
    visits_.push_back({self, function, use});
  }
  if (use == Use::Alone) alone_.lock();
}

void Presence::leave(Use use) {
  if (use == Use::Alone) alone_.unlock();
  const std::lock_guard lock(mutex_);
  const auto self = std::this_thread::get_id();
  const auto last =
      std::find_if(visits_.rbegin(), visits_.rend(), [&](const Visit& visit) { return visit.thread == self; });
  visits_.erase(std::next(last).base());
}

void keep(std::shared_ptr<void> shell) {
  struct Kept {
    std::mutex mutex;
    std::vector<std::shared_ptr<void>> shells;  // guarded by mutex
  };
  // Never destroyed: objects may be deleted, and used after that, until the process ends.
  static auto* const kept = new Kept;  // NOLINT(cppcoreguidelines-owning-memory)
  const std::lock_guard lock(kept->mutex);
  kept->shells.push_back(std::move(shell));
}

}  // namespace trtserve::fake::trt
