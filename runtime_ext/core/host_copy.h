#pragma once

#include <cstddef>

namespace trtserve {

/// memcpy. A few threads that the whole process shares help with large blocks, because one core alone cannot use the
/// memory's bandwidth. Thread safe.
void copy_on_host(void* to, const void* from, size_t bytes);

}  // namespace trtserve
