#pragma once

#include <string>

// Gates hold executions until a test lets them go. A gate is shut until it is opened, and open from then on.

namespace trtserve::toy {

/// Counts the arrival, then blocks until the gate is open.
void pass_gate(const std::string& name);

}  // namespace trtserve::toy

extern "C" {
void toy_gate_open(const char* name);
/// Blocks until `count` executions in all have arrived at the gate.
void toy_gate_await(const char* name, int count);
/// How many execution contexts of toy engines exist now.
int toy_contexts();
/// The most executions that one context ever held at a time: more than 1 is a breach of its contract.
int toy_most_in_one_context();
}
