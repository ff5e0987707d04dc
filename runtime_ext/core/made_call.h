#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"

namespace trtserve {

/// A call of an engine that the graph of a module made, for whoever looks at the requests of that execution.
struct MadeCall {
  int64_t engine = 0;  ///< its ID
  std::string name;    ///< the engine's; may be empty
  TimePoint start;
  TimePoint end;  ///< on a GPU, when its work was enqueued
  std::optional<Kind> failure;
};

using MadeCalls = std::vector<MadeCall>;

/// A module may call engines in a loop: of its further calls in one execution, nobody is told.
inline constexpr size_t kMostMadeCalls = 64;

}  // namespace trtserve
