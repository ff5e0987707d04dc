#pragma once

#include <cstdint>

namespace trtserve {

/// Of the host's memory, what executions of modules leave to the rest of the process.
constexpr int64_t kKeptFromModules = int64_t{256} << 20;

/// From the first call on, a module's execution gets no tensor on the CPU that would leave less than kKeptFromModules
/// of the host's memory: torch's allocator of this process then calls check_module_memory() first. Thread safe.
void guard_module_memory();

/// Call it before the execution of a module on this thread takes `bytes`; 0 tells that it goes on, in a loop.
/// Unavailable if less than kKeptFromModules would be left. It looks at the system only if modules have taken much or
/// some time has passed since the last look. Thread safe.
void check_module_memory(int64_t bytes);

}  // namespace trtserve
