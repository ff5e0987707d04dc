#pragma once

// Whether devices still work. After a sticky error (an illegal address in a kernel, say) every further call
// on a device fails for the rest of the process's life: its engines are then Unavailable, and the process is
// to be restarted. Thread safe.

#include <exception>
#include <map>
#include <string>

#include <c10/core/Device.h>

#include "core/error.h"

namespace trtserve {

/// Unavailable, with the reason, where the device is dead.
void check_alive(at::Device device);

/// To be called after a failure on `device`: asks it whether it still answers, and takes it for dead, for the
/// reason given, if it does not. Does not wait for work on the device.
bool still_alive(at::Device device, const std::string& reason);

/// What an exception says, for a sentence: torch's without its stack trace, which has addresses and paths of the build.
std::string reason_of(const std::exception& error);

/// What an exception is to those who wait for an answer: an Error as it is, Unavailable where the device has not the
/// memory or has died, else ExecutionFailed. `label` is of what failed.
Error explained(at::Device device, const std::string& label, const std::exception_ptr& failure);

/// Device to reason.
std::map<std::string, std::string> dead_devices();

}  // namespace trtserve
