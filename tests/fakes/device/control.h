#pragma once

#include <cstdint>

// What a test asks of the fake device and does to it. Thread safe. tests/fakes/device/__init__.py has the same
// list for Python.

extern "C" {
/// Bytes of device memory that are allocated now, in blocks of 512. A freed block counts as returned at once.
int64_t fake_device_memory();
int64_t fake_device_peak();
void fake_device_reset_peak();
/// Bytes of pinned host memory that are allocated now. A freed block counts as returned at once.
int64_t fake_pinned_memory();
/// How much memory each device has; an allocation beyond it throws c10::OutOfMemoryError. -1: no limit.
void fake_device_limit(int64_t bytes);

/// From here on every synchronize, query, record, copy and fill that torch asks for throws c10::Error with the
/// reason, as after a sticky error. Work enqueued before still runs. nullptr heals.
void fake_device_break(const char* reason);
/// How many devices there are, 1 at first and 16 at most.
void fake_device_count_set(int count);
int fake_device_count();

/// Every breach of a contract so far, one a line; "" when there was none. Good until the thread's next call.
/// Looks at the memory freed lately, too: it must not have been written to since.
const char* fake_breaches();
void fake_breaches_clear();

/// Lets no stream begin another piece of work until fake_device_release().
void fake_device_hold();
/// The same for the one stream of a native handle, which is not the default stream's.
void fake_stream_hold(void* native_handle);
/// Lets go of all that is held.
void fake_device_release();
/// Pieces of work that are enqueued and not done: copies, kernels, and records of events and waits for them.
int64_t fake_device_pending();
/// Blocks until that many pieces are pending, or more.
void fake_device_await_pending(int64_t count);
/// Blocks until that many threads wait for work on the device, in a synchronize or a blocking copy, or more.
void fake_device_await_waiting(int64_t count);

/// Capture on the stream of a native handle, which is not the default stream's. The end enqueues what was
/// captured, once, and returns how many pieces that were.
void fake_capture_begin(void* native_handle);
int64_t fake_capture_end(void* native_handle);
}
