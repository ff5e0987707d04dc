#include "backends/openvino/stream_threads.h"

namespace trtserve::openvino {

std::shared_ptr<const int> StreamThreads::take(int streams) {
  const int threads = streams + 1;
  if (left_.fetch_sub(threads) < threads) {
    left_.fetch_add(threads);
    return nullptr;
  }
  return {std::make_unique<const int>(threads).release(), [this](const int* taken) {
            left_.fetch_add(*taken);
            std::default_delete<const int>()(taken);
          }};
}

}  // namespace trtserve::openvino
