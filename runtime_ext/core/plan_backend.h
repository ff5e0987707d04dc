#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trtserve {

/// How many bytes of a file's beginning backend_for() looks at.
inline constexpr size_t kPlanHead = size_t{1} << 16;

/// The name of the backend, among those registered, that loads a plan which begins with `head`. A hint: the backend has
/// the last word. InvalidInput if this is no plan; Unsupported if there is no such backend.
std::string backend_for(std::string_view head, const std::vector<std::string>& backends);

}  // namespace trtserve
