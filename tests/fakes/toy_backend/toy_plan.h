#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"

namespace trtserve::toy {

/// A plan of the toy backend: a text file whose first line is "toy 1", then one fact per line:
///
///   input NAME DATATYPE DIM...     a dimension of -1 is dynamic; `...` for all of them: even the rank is unknown
///   profile NAME MIN... / MAX...   bounds for the dimensions of an input; a MAX of -1: no bound
///   values NAME MIN... / MAX...    bounds for the values of an input: it decides shapes
///   output NAME INPUT FACTOR       the input times the factor, in the input's datatype
///   size NAME INPUT DIM            has the input's shape; each element is the length of dimension DIM
///   host NAME                      the engine reads the input on the host, not on its device
///   sum NAME INPUT                 the input's sum over dimension 0, whose length becomes 1
///   gate NAME                      every execution waits for the gate, see gate.h
///   interruptible                  an interrupt ends the wait for the gate
///   knows_shapes                   the engine reports the outputs' shapes at the load
///   throw WHAT                     throw bad_alloc, no_threads (a system_error) or number at every execution
///   fail SENTENCE                  fail at every execution
///   fail_on VALUE                  fail at an execution whose first input has this among its elements
///   fail_above N                   fail at an execution of more than N items in dimension 0 of the first input
///   load_gate NAME                 wait for the gate at the load
///   load_throws WHAT...            memory, threads or descriptors: the load throws C++'s exception; otherwise an
///                                  exception with these words
///   steady                         the engine says that its executions never wait; see BackendEngine::is_steady
///   instances N                    the default number of instances
///
/// Any other line fails the load. The engine counts its executions: the counter `executions`.
struct ToyPlan {
  struct Output {
    enum class Is { Multiple, Size, Sum };
    std::string name;
    size_t input;
    Is is = Is::Multiple;
    double factor = 1;  ///< Multiple: the factor
    int64_t dim = 0;    ///< Size: the dimension
  };

  std::vector<TensorSpec> inputs;
  std::vector<Output> outputs;
  std::string gate;
  std::string load_gate;
  std::string load_throws;
  bool interruptible = false;
  bool knows_shapes = false;
  bool steady = false;
  std::string thrown;
  std::string failure;
  std::string fail_on;
  std::optional<int64_t> fail_above;
  int instances = 1;
};

/// Reads a toy plan. InvalidInput if the file is not one.
ToyPlan read_toy_plan(const std::string& path);

}  // namespace trtserve::toy
