#pragma once

#include <cstdint>

// The controls of the fake device for tests. Thread safe. tests/fakes/device/__init__.py repeats the list for Python.

extern "C" {
/// Bytes of device memory that are now allocated, in blocks of 512. A freed block counts as returned immediately.
int64_t fake_device_memory();
int64_t fake_device_peak();
void fake_device_reset_peak();
/// Bytes of pinned host memory that are now allocated. A freed block counts as returned immediately.
int64_t fake_pinned_memory();
/// Sets the memory of each device; an allocation beyond it throws c10::OutOfMemoryError. -1: no limit.
void fake_device_limit(int64_t bytes);

/// From now on, every synchronize, query, record, copy and fill by torch throws c10::Error with the reason, like after
/// a sticky error. Work that is already enqueued still runs. nullptr repairs all devices.
void fake_device_break(const char* reason);
/// Likewise for one device; fake_device_break(nullptr) repairs it.
void fake_device_break_one(int device, const char* reason);
/// Sets the number of devices: initially 1, at most 120.
void fake_device_count_set(int count);
int fake_device_count();

/// Every breach of a contract so far, one per line; "" if there was none. Valid until the thread's next call. Also
/// checks that recently freed memory has not been written to.
const char* fake_breaches();
void fake_breaches_clear();

/// Keeps all streams from starting more work until fake_device_release().
void fake_device_hold();
/// Keeps one stream from starting more work until fake_device_release(). The native handle must not be the default
/// stream's.
void fake_stream_hold(void* native_handle);
/// Releases everything that is held.
void fake_device_release();
/// The number of enqueued, unfinished pieces of work: copies, kernels, event records and event waits.
int64_t fake_device_pending();
/// Blocks until at least that many pieces are pending.
void fake_device_await_pending(int64_t count);
/// Blocks until at least that many threads wait for work on the device, in a synchronize or a blocking copy.
void fake_device_await_waiting(int64_t count);

/// The number of a device's streams that have unfinished work.
int fake_busy_streams(int device);
/// 1 if anything has ever used a stream of the device, 0 if not.
int fake_device_touched(int device);

/// Begins or ends a capture on the stream of a native handle, which must not be the default stream's. The end enqueues
/// the captured work once, and returns the number of pieces.
void fake_capture_begin(void* native_handle);
int64_t fake_capture_end(void* native_handle);
}
