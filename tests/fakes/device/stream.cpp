#include "stream.h"

#include <pthread.h>

#include <mutex>
#include <thread>

#include <c10/util/StringUtil.h>

#include "current.h"
#include "event.h"
#include "machine.h"

namespace trtserve::fake {

void Stream::enqueue(Work work) {
  const std::lock_guard lock(machine().mutex);
  if (captured_) {
    captured_->push_back(std::move(work));
  } else {
    push({std::move(work), nullptr, true});
  }
}

void Stream::await(std::shared_ptr<const Recording> recording) {
  {
    const std::lock_guard lock(machine().mutex);
    if (!captured_) return push({[] {}, std::move(recording), true});
  }
  breach("A stream was made to wait for an event while it captured.");
}

void Stream::enqueue_release(Work work) {
  const std::lock_guard lock(machine().mutex);
  push({std::move(work), nullptr, false});
}

void Stream::synchronize() {
  refuse_while_capturing("a stream was synchronized", this);
  std::unique_lock lock(machine().mutex);
  const uint64_t last = enqueued_;
  wait_until(lock, device_, [&] { return finished_ >= last; });
}

bool Stream::query() const {
  check_usable(device_);
  if (capturing() || current_is_capturing()) {
    // As on CUDA: cudaErrorStreamCaptureUnsupported.
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 900, "A stream was queried while one was capturing.");
  }
  const std::lock_guard lock(machine().mutex);
  return pending_ == 0;
}

bool Stream::idle() const {
  const std::lock_guard lock(machine().mutex);
  return finished_ == enqueued_ && !captured_;
}

void Stream::begin_capture() {
  {
    const std::lock_guard lock(machine().mutex);
    if (!captured_) {
      captured_.emplace();
      count_thread_capture(1);
      return;
    }
  }
  breach("A capture began on a stream that was capturing.");
}

std::vector<Work> Stream::end_capture() {
  {
    const std::lock_guard lock(machine().mutex);
    if (captured_) {
      auto captured = std::move(*captured_);
      captured_.reset();
      count_thread_capture(-1);
      return captured;
    }
  }
  breach("A capture ended on a stream that was not capturing.");
  return {};
}

bool Stream::capturing() const {
  const std::lock_guard lock(machine().mutex);
  return captured_.has_value();
}

void Stream::set_held(bool held) {
  const std::lock_guard lock(machine().mutex);
  held_ = held;
  machine().changed.notify_all();
}

c10::Stream Stream::as_torch() const {
  const c10::Device device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(device_));
  return c10::Stream(c10::Stream::UNSAFE, device, id_);
}

/// The caller holds the machine's mutex.
void Stream::push(Item item) {
  if (item.pending) {
    ++machine().pending;
    ++pending_;
  }
  ++enqueued_;
  queue_.push_back(std::move(item));
  // Detached, since streams never end: the thread waits for work until the process ends, and stop_for_exit() keeps it
  // from starting any then.
  if (!started_ && !machine().exiting) {
    std::thread(&Stream::run, this).detach();
    started_ = true;
  }
  machine().changed.notify_all();
}

bool Stream::next_is_ready() const {
  if (held_ || machine().held || machine().exiting || queue_.empty()) return false;
  return !queue_.front().awaited || queue_.front().awaited->done;
}

void Stream::run() {
  pthread_setname_np(pthread_self(), "fake-stream");
  std::unique_lock lock(machine().mutex);
  while (true) {
    machine().changed.wait(lock, [this] { return next_is_ready(); });
    auto item = std::move(queue_.front());
    queue_.pop_front();
    ++machine().running;
    lock.unlock();
    try {
      item.work();
    } catch (const std::exception& failure) {
      breach(c10::str("Work on a stream threw: ", failure.what()));
    }
    item.work = nullptr;  // release what it holds before it counts as finished
    lock.lock();
    --machine().running;
    ++finished_;
    if (item.pending) {
      --machine().pending;
      --pending_;
    }
    machine().changed.notify_all();
  }
}

}  // namespace trtserve::fake
