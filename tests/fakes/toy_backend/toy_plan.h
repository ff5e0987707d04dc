#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"

namespace trtserve::toy {

/// A plan of the toy backend: a text file whose first line is "toy 1", then one fact a line:
///
///   input NAME DATATYPE DIM...     a dimension of -1 is dynamic; `...` for all of them: even the rank is unknown
///   profile NAME MIN... / MAX...   bounds for the dimensions of an input; a MAX of -1: no bound
///   values NAME MIN... / MAX...    bounds for the values of an input: it decides shapes
///   output NAME INPUT FACTOR       the input times the factor, in the input's datatype
///   size NAME INPUT DIM            of the input's shape; each element is how long its dimension DIM is
///   host NAME                      the engine reads the input on the host, not on its device
///   sum NAME INPUT                 the input's sum over dimension 0, whose length is 1 then
///   gate NAME                      wait for the gate at every execution, see gate.h
///   interruptible                  an interrupt ends the wait for the gate
///   tells_shapes                   the engine tells at the load of which shapes outputs will be
///   throw WHAT                     throw bad_alloc, no_threads (a system_error) or number at every execution
///   fail SENTENCE                  fail at every execution
///   fail_on VALUE                  fail at an execution whose first input has this among its elements
///   fail_above N                   fail at an execution of more than N items in dimension 0 of the first input
///   load_gate NAME                 wait for the gate at the load
///   load_throws WHAT...            memory, threads or descriptors: throw what C++ throws then at the load; else an
///                                  exception with these words
///   instances N                    unless the load says otherwise
///
/// A line of anything else fails the load. The engine counts its executions: the counter `executions`.
struct ToyPlan {
  struct Output {
    enum class Is { Multiple, Size, Sum };
    std::string name;
    size_t input;
    Is is = Is::Multiple;
    double factor = 1;  ///< of a Multiple
    int64_t dim = 0;    ///< of a Size
  };

  std::vector<TensorSpec> inputs;
  std::vector<Output> outputs;
  std::string gate;
  std::string load_gate;
  std::string load_throws;
  bool interruptible = false;
  bool tells_shapes = false;
  std::string thrown;
  std::string failure;
  std::string fail_on;
  std::optional<int64_t> fail_above;
  int instances = 1;
};

/// InvalidInput where the file is no toy plan.
ToyPlan read_toy_plan(const std::string& path);

}  // namespace trtserve::toy
