#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "machine.h"
#include "stream.h"

namespace trtserve::fake {

/// Owns every stream there is. Thread safe.
class StreamTable {
 public:
  Stream& default_stream(int device);
  /// One of the few of a device's pool, in turn, as torch's pools give them.
  Stream& from_pool(int device);
  Stream& make(int device);
  Stream& find(const c10::Stream& stream);
  /// nullptr where no stream has the handle.
  Stream* find(void* native_handle);
  /// Every stream of a device that there is so far.
  std::vector<Stream*> all(int device);

 private:
  using Streams = std::vector<std::unique_ptr<Stream>>;

  /// A device's streams, their place being their ID: the default one, the pool, and those made later.
  Streams& streams(int device);

  std::mutex mutex_;
  std::array<Streams, kMaxDevices> devices_;        // guarded by mutex_
  std::array<size_t, kMaxDevices> next_in_pool_{};  // guarded by mutex_
};

/// The one there is. Never destroyed, as its streams are not.
StreamTable& stream_table();

}  // namespace trtserve::fake
