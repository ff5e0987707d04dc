#pragma once

#include "core/clock.h"

namespace trtserve {

/// When the phases of one execution ended. Each phase begins where the previous one ends, so together they cover the
/// whole. On the CPU a phase's work is done when it ends. A GPU works asynchronously, and only the last phase waits for
/// it: `inferred` means that the execution is enqueued, not finished, and the output phase waits for all of the batch's
/// work on the device, including the copies of its inputs.
struct ExecutionTimes {
  TimePoint start;
  TimePoint gathered;  ///< the inputs are joined; on a GPU: in pinned memory, and their copies enqueued
  TimePoint inferred;  ///< the wrapper has returned
  TimePoint end;       ///< the outputs are on the host, and divided among the requests

  Nanoseconds input() const { return gathered - start; }
  Nanoseconds infer() const { return inferred - gathered; }
  Nanoseconds output() const { return end - inferred; }
  Nanoseconds compute() const { return end - start; }
};

}  // namespace trtserve
