#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "machine.h"
#include "stream.h"

namespace trtserve::fake {

/// Owns all streams. Thread safe.
class StreamTable {
 public:
  Stream& default_stream(int device);
  /// Returns one of the few streams of a device's pool, in turn, like torch's pools.
  Stream& from_pool(int device);
  Stream& make(int device);
  /// Ends a stream that make() returned, once its work is done; make() returns it again later. Records a breach for any
  /// other stream, and for one that ended before.
  void end(Stream& stream);
  /// The stream of torch's ID, which is its number or, as for streams that torch did not create on CUDA, its handle.
  Stream& find(const c10::Stream& stream);
  /// Returns nullptr if no stream has the handle.
  Stream* find(void* native_handle);
  /// True if a stream of the device has ever been asked for.
  bool touched(int device);
  /// All streams of a device so far.
  std::vector<Stream*> all(int device);

 private:
  using Streams = std::vector<std::unique_ptr<Stream>>;

  /// A device's streams, indexed by ID: the default one, the pool, and those made later.
  Streams& streams(int device);
  Stream* with_handle(const void* native_handle);

  std::mutex mutex_;
  std::array<Streams, kMaxDevices> devices_;        // guarded by mutex_
  std::array<size_t, kMaxDevices> next_in_pool_{};  // guarded by mutex_
  std::set<Stream*> ended_;                         // guarded by mutex_
};

/// The only instance. Never destroyed, like its streams.
StreamTable& stream_table();

}  // namespace trtserve::fake
