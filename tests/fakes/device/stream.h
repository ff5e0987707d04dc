#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <c10/core/Stream.h>

namespace trtserve::fake {

using Work = std::function<void()>;

struct Recording;

/// A queue of work that one thread runs in order, as a device's stream does. Thread safe. Never destroyed, so
/// that a handle of it stays good.
///
/// Work runs on the stream's own thread, which starts with the first piece. Work that throws is a breach.
class Stream {
 public:
  /// Returns at once, also where the device is broken: the work still runs. While capturing, the work is kept
  /// for end_capture() instead of being run.
  void enqueue(Work work);
  /// Blocks until all work enqueued so far is done. Throws c10::Error when the device is broken. A breach, and
  /// c10::Error, while this stream or the calling thread's current one is capturing.
  void synchronize();
  /// Whether all work enqueued is done. Throws c10::Error when the device is broken.
  bool query() const;

  void begin_capture();
  std::vector<Work> end_capture();
  bool capturing() const;

  int device() const { return device_; }

  // What follows is for this library alone.

  Stream(int device, c10::StreamId id) : device_(device), id_(id) {}
  /// Nothing that is enqueued from here on begins before the recording is done. A breach while capturing.
  void await(std::shared_ptr<const Recording> recording);
  /// Runs in the stream's order, but is neither captured nor counted as pending: for giving memory back.
  void enqueue_release(Work work);
  /// While held, the stream begins no piece of work; the others go on.
  void set_held(bool held);
  c10::Stream as_torch() const;
  void* native_handle() { return id_ == 0 ? nullptr : this; }

 private:
  struct Item {
    Work work;
    std::shared_ptr<const Recording> awaited;
    bool pending;  // whether it counts as pending
  };

  void push(Item item);
  void run();
  bool next_is_ready() const;

  const int device_;
  const c10::StreamId id_;
  // All that follows is guarded by the machine's mutex, see machine.h.
  std::deque<Item> queue_;
  std::optional<std::vector<Work>> captured_;  // nothing unless capturing
  uint64_t enqueued_ = 0;
  uint64_t finished_ = 0;
  uint64_t pending_ = 0;  // of what is enqueued and unfinished, what counts as pending
  bool held_ = false;
  bool started_ = false;  // whether the thread runs
};

/// The stream behind c10::Stream::native_handle(); nullptr for the default stream, whose handle is nullptr as
/// CUDA's is. A handle of no stream is a breach, and nullptr.
Stream* stream_of(void* native_handle);

/// Remembers a breach of a contract; see fake_breaches in control.h. Thread safe.
void breach(const std::string& sentence);

/// Throws c10::Error, with the reason, while the device is broken; see fake_device_break in control.h.
void check_usable();

}  // namespace trtserve::fake
