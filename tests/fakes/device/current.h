#pragma once

#include <string>

#include "stream.h"

// The calling thread's current device and streams. A new thread starts on device 0, with the default streams.

namespace trtserve::fake {

int current_device();
/// Throws c10::Error if there is no such device.
void check_device(int device);
void set_current_device(int device) noexcept;

Stream& current_stream(int device);
/// Makes the stream the current one of its device; returns the previous one.
Stream& exchange_current_stream(Stream& stream);

/// Records a breach and throws c10::Error if current_is_capturing(), or `other` is capturing. `what` is a clause
/// that describes the action.
void refuse_while_capturing(const std::string& what, const Stream* other = nullptr);

/// True if the thread's current stream is capturing, or the thread captures on any stream.
bool current_is_capturing();

/// Counts the captures that the thread has begun and not ended.
void count_thread_capture(int change);

}  // namespace trtserve::fake
