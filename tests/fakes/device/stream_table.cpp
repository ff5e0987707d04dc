#include "stream_table.h"

#include <algorithm>

#include <c10/util/Exception.h>

namespace trtserve::fake {

namespace {

constexpr size_t kPoolSize = 8;

}  // namespace

Stream& StreamTable::default_stream(int device) {
  const std::lock_guard lock(mutex_);
  return *streams(device).front();
}

Stream& StreamTable::from_pool(int device) {
  const std::lock_guard lock(mutex_);
  auto& next = next_in_pool_.at(static_cast<size_t>(device));
  return *streams(device).at(1 + next++ % kPoolSize);
}

bool StreamTable::touched(int device) {
  const std::lock_guard lock(mutex_);
  return !devices_.at(static_cast<size_t>(device)).empty();
}

Stream& StreamTable::make(int device) {
  const std::lock_guard lock(mutex_);
  const auto again = std::find_if(ended_.begin(), ended_.end(),
                                  [&](Stream* ended) { return ended->device() == device && ended->idle(); });
  if (again != ended_.end()) return *ended_.extract(again).value();
  auto& all = streams(device);
  all.push_back(std::make_unique<Stream>(device, static_cast<c10::StreamId>(all.size())));
  return *all.back();
}

void StreamTable::end(Stream& stream) {
  const std::lock_guard lock(mutex_);
  const auto& all = streams(stream.device());
  const auto made =
      std::find_if(all.begin() + 1 + kPoolSize, all.end(), [&](const auto& other) { return other.get() == &stream; });
  if (made == all.end() || !ended_.insert(&stream).second) {
    breach("A stream was destroyed that its destroyer had not created, or that had been destroyed before.");
  }
}

Stream& StreamTable::find(const c10::Stream& stream) {
  const std::lock_guard lock(mutex_);
  auto& all = streams(stream.device_index());
  const auto id = static_cast<size_t>(stream.id());
  if (id < all.size()) return *all[id];
  auto* external = with_handle(reinterpret_cast<const void*>(id));  // NOLINT(performance-no-int-to-ptr): as on CUDA
  TORCH_CHECK(external != nullptr, "there is no stream ", stream);
  return *external;
}

Stream* StreamTable::find(void* native_handle) {
  const std::lock_guard lock(mutex_);
  return with_handle(native_handle);
}

std::vector<Stream*> StreamTable::all(int device) {
  const std::lock_guard lock(mutex_);
  std::vector<Stream*> found;
  for (auto& stream : devices_.at(static_cast<size_t>(device))) found.push_back(stream.get());
  return found;
}

/// The caller holds mutex_.
Stream* StreamTable::with_handle(const void* native_handle) {
  for (auto& all : devices_) {
    for (auto& stream : all) {
      if (stream.get() != native_handle) continue;
      if (ended_.count(stream.get()) != 0) breach("A stream was used after it had been destroyed.");
      return stream.get();
    }
  }
  return nullptr;
}

/// The caller holds mutex_.
StreamTable::Streams& StreamTable::streams(int device) {
  auto& all = devices_.at(static_cast<size_t>(device));
  while (all.size() < 1 + kPoolSize) {
    all.push_back(std::make_unique<Stream>(device, static_cast<c10::StreamId>(all.size())));
  }
  return all;
}

StreamTable& stream_table() {
  static StreamTable& table = *std::make_unique<StreamTable>().release();
  return table;
}

Stream* stream_of(void* native_handle) {
  if (native_handle == nullptr) return nullptr;
  auto* stream = stream_table().find(native_handle);
  if (stream == nullptr) breach("A handle belonged to no stream.");
  return stream;
}

}  // namespace trtserve::fake
