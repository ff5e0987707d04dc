#pragma once

#include "core/error.h"
#include "core/graph_run.h"

namespace trtserve {

/// Tells the run of the graph that calls, if there is one, about an Error that an operator throws: the interpreter
/// would keep only its text.
template <typename Run>
auto remembering_errors(const Run& run) {
  GraphRun* const caller = GraphRun::current();
  if (caller == nullptr) return run();
  caller->check_wanted();
  try {
    return run();
  } catch (const Error& error) {
    caller->keep(error);
    throw;
  }
}

}  // namespace trtserve
