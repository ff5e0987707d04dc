#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/clock.h"
#include "core/engine.h"

namespace trtserve {

/// One input of an execution that warms an engine up: zeros of this shape, or these values.
struct WarmUpInput {
  std::vector<int64_t> shape;
  std::vector<int64_t> values;  ///< for an input whose values decide shapes; otherwise empty
};

/// Runs executions whose outputs nobody wants, so that no request pays for what an engine does only once: each in every
/// execution context, with the inputs in the engine's order. No execution begins after `deadline`. Returns how many
/// ran.
///
/// Blocks; requests and other callers wait meanwhile. Does nothing on a CPU where an execution may not end.
/// InvalidInput if the engine does not take such inputs; throws what an execution throws.
size_t warm_up(Engine& engine, const std::vector<std::vector<WarmUpInput>>& executions, Clock& clock,
               TimePoint deadline);

}  // namespace trtserve
