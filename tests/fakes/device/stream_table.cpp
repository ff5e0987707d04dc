#include "stream_table.h"

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

Stream& StreamTable::make(int device) {
  const std::lock_guard lock(mutex_);
  auto& all = streams(device);
  all.push_back(std::make_unique<Stream>(device, static_cast<c10::StreamId>(all.size())));
  return *all.back();
}

Stream& StreamTable::find(const c10::Stream& stream) {
  const std::lock_guard lock(mutex_);
  auto& all = streams(stream.device_index());
  const auto id = static_cast<size_t>(stream.id());
  TORCH_CHECK(id < all.size(), "there is no stream ", stream);
  return *all[id];
}

Stream* StreamTable::find(void* native_handle) {
  const std::lock_guard lock(mutex_);
  for (auto& all : devices_) {
    for (auto& stream : all) {
      if (stream.get() == native_handle) return stream.get();
    }
  }
  return nullptr;
}

std::vector<Stream*> StreamTable::all(int device) {
  const std::lock_guard lock(mutex_);
  std::vector<Stream*> found;
  for (auto& stream : streams(device)) found.push_back(stream.get());
  return found;
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
