#pragma once

#include <string>

#include "stream.h"

// The calling thread's current device and streams. A new thread begins on device 0, with the default streams.

namespace trtserve::fake {

int current_device();
/// c10::Error where there is no such device.
void check_device(int device);
void set_current_device(int device) noexcept;

Stream& current_stream(int device);
/// Makes the stream the current one of its device; returns the one before.
Stream& exchange_current_stream(Stream& stream);

/// A breach, and c10::Error, where the thread's current stream, or the other one given, is capturing. `what`
/// is what was done, as a clause.
void refuse_while_capturing(const std::string& what, const Stream* other = nullptr);

/// Whether the thread's current stream is capturing.
bool current_is_capturing();

}  // namespace trtserve::fake
