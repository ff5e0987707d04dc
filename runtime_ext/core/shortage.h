#pragma once

// Detects a shortage of memory, threads or file descriptors in this process. Libraries report one in different ways: by
// an exception type, by a sentence, or as if the plan were at fault; some end the process. So it is also tested by
// trying. Thread safe.

#include <cstddef>
#include <exception>
#include <optional>
#include <string>

#include "core/error.h"

namespace trtserve {

/// Returns an Unavailable if the failure's type or words show a shortage; it has a `retry_after`, since shortages may
/// pass. `label` names what failed.
std::optional<Error> shortage_behind(const std::string& label, const std::exception_ptr& failure);

/// Returns an Unavailable if `bytes` of memory, or the few threads and descriptors that a load needs, are not
/// available.
std::optional<Error> shortage_for(const std::string& label, size_t bytes);

}  // namespace trtserve
