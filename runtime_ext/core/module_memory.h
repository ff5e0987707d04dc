#pragma once

#include <cstdint>

namespace trtserve {

/// Keeps some of the host's memory free of what executions of modules take: 256 MiB, or a quarter of what is available
/// at the first call if that is less. From then on, torch's allocator of this process calls check_module_memory()
/// before it makes a tensor on the CPU in the execution of a module. Thread safe.
void guard_module_memory();

/// Call it before the execution of a module on this thread takes `bytes`; 0 tells that it goes on, in a loop.
/// Unavailable if too little would be left. An execution that takes little, and not for long, passes in any case. Looks
/// at the system only if modules have taken much or some time has passed since the last look. Thread safe.
void check_module_memory(int64_t bytes);

}  // namespace trtserve
