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

/// Records a breach and throws c10::Error if the thread's current stream or `other` is capturing. `what` is a clause
/// that describes the action.
void refuse_while_capturing(const std::string& what, const Stream* other = nullptr);

/// True if the thread's current stream is capturing.
bool current_is_capturing();

}  // namespace trtserve::fake
