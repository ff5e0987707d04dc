#include "current.h"

#include <array>

#include <c10/util/Exception.h>

#include "machine.h"
#include "stream_table.h"

namespace trtserve::fake {

namespace {

thread_local int device_of_thread = 0;
thread_local int captures_of_thread = 0;
thread_local std::array<Stream*, kMaxDevices> streams_of_thread{};  // nullptr: the default stream

}  // namespace

int current_device() { return device_of_thread; }

void check_device(int device) {
  const int count = device_count();
  TORCH_CHECK(device >= 0 && device < count, "fake error: invalid device ordinal ", device, " of ", count);
}

void set_current_device(int device) noexcept { device_of_thread = device; }

Stream& current_stream(int device) {
  auto* stream = streams_of_thread.at(static_cast<size_t>(device));
  return stream == nullptr ? stream_table().default_stream(device) : *stream;
}

Stream& exchange_current_stream(Stream& stream) {
  auto& before = current_stream(stream.device());
  streams_of_thread.at(static_cast<size_t>(stream.device())) = &stream;
  return before;
}

void refuse_while_capturing(const std::string& what, const Stream* other) {
  if (!current_is_capturing() && (other == nullptr || !other->capturing())) return;
  const std::string sentence = "While a stream was capturing, " + what + ".";
  breach(sentence);
  TORCH_CHECK(false, "fake error: operation not permitted when stream is capturing. ", sentence);
}

bool current_is_capturing() { return captures_of_thread > 0 || current_stream(current_device()).capturing(); }

void count_thread_capture(int change) { captures_of_thread += change; }

}  // namespace trtserve::fake
