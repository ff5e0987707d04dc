#pragma once

#include <atomic>
#include <string>

// Gates hold executions until a test lets them go. A gate is shut until it is opened, and then stays open; a shut gate
// can let some executions through, in the order of arrival. Each library that compiles this in has its own gates.

namespace trtserve::toy {

/// Counts the arrival, then blocks until the gate is open or lets this one through. Returns false if `interrupted`
/// became true first and look_at_gates() was called.
bool pass_gate(const std::string& name, const std::atomic<bool>& interrupted);
void pass_gate(const std::string& name);
void look_at_gates();

}  // namespace trtserve::toy

extern "C" {
__attribute__((visibility("default"))) void toy_gate_open(const char* name);
/// Lets `count` more executions through: those that have waited longest, or the next to arrive.
__attribute__((visibility("default"))) void toy_gate_let_through(const char* name, int count);
/// Blocks until `count` executions in all have arrived at the gate; 0 if they have not after a minute, so that a test
/// that would never end fails.
__attribute__((visibility("default"))) int toy_gate_await(const char* name, int count);
}
