#pragma once

// Tracks whether devices still work. After a sticky error (such as an illegal address in a kernel) every call on the
// device fails until the process ends: its engines are Unavailable, and the process must be restarted. Thread safe.

#include <exception>
#include <map>
#include <string>

#include <c10/core/Device.h>

#include "core/error.h"

namespace trtserve {

/// Throws Unavailable, with the reason, if the device is dead.
void check_alive(at::Device device);

/// False if the device is known to be dead.
bool is_alive(at::Device device);

/// Call it after a failure on `device`. Checks whether the device still answers; if not, records it as dead for
/// `reason`. Does not wait for work on the device.
bool still_alive(at::Device device, const std::string& reason);

/// The exception's text for use in a sentence, without torch's stack trace, which contains addresses and build paths.
std::string reason_of(const std::exception& error);

/// Converts an exception for the client: an Error as it is, Unavailable if memory ran out or the device died, otherwise
/// ExecutionFailed. `label` names the operation or engine that failed.
Error explained(at::Device device, const std::string& label, const std::exception_ptr& failure);

/// Dead devices, with the reason for each.
std::map<std::string, std::string> dead_devices();

}  // namespace trtserve
