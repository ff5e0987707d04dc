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

/// A queue of work that one thread runs in order, like a device's stream. Thread safe. Never destroyed, so that its
/// handles stay valid.
///
/// Work runs on the stream's own thread, which starts with the first piece. Work that throws is a breach.
class Stream {
 public:
  /// Enqueues work without blocking, even if the device is broken: the work still runs. During a capture, keeps the
  /// work for end_capture() instead of running it.
  void enqueue(Work work);
  /// Blocks until all work enqueued so far is done. Throws c10::Error if the device is broken. Records a breach and
  /// throws c10::Error while this stream or the calling thread's current one is capturing.
  void synchronize();
  /// True if all enqueued work is done. Throws c10::Error if the device is broken.
  bool query() const;

  /// True if nothing is left to run, releases included, and nothing is captured. Unlike query(), works always.
  bool idle() const;

  /// The thread that begins a capture ends it; until then it must not wait or allocate, even on other streams.
  void begin_capture();
  std::vector<Work> end_capture();
  bool capturing() const;

  int device() const { return device_; }
  c10::Stream as_torch() const;

  // Only this library uses the following.

  Stream(int device, c10::StreamId id) : device_(device), id_(id) {}
  /// Work enqueued from now on waits for the recording. Records a breach while capturing.
  void await(std::shared_ptr<const Recording> recording);
  /// Enqueues work that releases memory: runs in the stream's order, but is neither captured nor counted as pending.
  void enqueue_release(Work work);
  /// While held, the stream starts no work; other streams continue.
  void set_held(bool held);
  void* native_handle() { return id_ == 0 ? nullptr : this; }

 private:
  struct Item {
    Work work;
    std::shared_ptr<const Recording> awaited;
    bool pending;  // counted as pending
  };

  void push(Item item);
  void run();
  bool next_is_ready() const;

  const int device_;
  const c10::StreamId id_;
  // Everything below is guarded by the machine's mutex, see machine.h.
  std::deque<Item> queue_;
  std::optional<std::vector<Work>> captured_;  // nothing unless capturing
  uint64_t enqueued_ = 0;
  uint64_t finished_ = 0;
  uint64_t pending_ = 0;  // unfinished work that counts as pending
  bool held_ = false;
  bool started_ = false;  // the thread runs
};

/// The stream behind c10::Stream::native_handle(); nullptr for the default stream, whose handle is nullptr like CUDA's.
/// Records a breach and returns nullptr for an unknown handle.
Stream* stream_of(void* native_handle);

/// Records a breach of a contract; see fake_breaches in control.h. Thread safe.
void breach(const std::string& sentence);

/// Throws c10::Error, with the reason, while the device is broken; see fake_device_break in control.h.
void check_usable(int device);

}  // namespace trtserve::fake
