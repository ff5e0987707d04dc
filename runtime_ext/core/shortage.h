#pragma once

// Whether this process has come to the end of something that it needs: memory, threads or file descriptors. Libraries
// tell it as they please: with a type, a sentence, or as if the plan were at fault; and some end the process. So it is
// also found out by trying. Thread safe.

#include <cstddef>
#include <exception>
#include <optional>
#include <string>

#include "core/error.h"

namespace trtserve {

/// The Unavailable of a failure that a shortage is behind, by its type or its words; it has a `retry_after`, since it
/// may pass. `label` is of what failed.
std::optional<Error> shortage_behind(const std::string& label, const std::exception_ptr& failure);

/// Unavailable where so many bytes of memory, or the few threads and descriptors that a load takes, are not to be had.
std::optional<Error> shortage_for(const std::string& label, size_t bytes);

}  // namespace trtserve
