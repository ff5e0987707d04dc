#include "core/instance.h"

#include <pthread.h>

namespace trtserve {

Instance::Instance(RequestQueue& queue, RequestHandler& handler)
    : thread_([&queue, &handler] {
        pthread_setname_np(pthread_self(), "trt-instance");
        while (auto request = queue.pop()) handler.handle(std::move(*request));
      }) {}

Instance::~Instance() { thread_.join(); }

}  // namespace trtserve
