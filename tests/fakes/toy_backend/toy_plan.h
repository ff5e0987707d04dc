#pragma once

#include <string>
#include <vector>

#include "core/backend.h"

namespace trtserve::toy {

/// A plan of the toy backend: a text file whose first line is "toy 1", then one fact a line:
///
///   input NAME DATATYPE DIM...     a dimension of -1 is dynamic
///   profile NAME MIN... / MAX...   bounds for the dimensions of an input
///   output NAME INPUT FACTOR       the input times the factor, in the input's datatype
///   gate NAME                      wait for the gate at every execution, see gate.h
///   fail SENTENCE                  fail at every execution
///   fail_on VALUE                  fail at an execution whose first input's first element is this
///   instances N                    unless the load says otherwise
///
/// A line of anything else fails the load.
struct ToyPlan {
  struct Output {
    std::string name;
    size_t input;
    double factor;
  };

  std::vector<TensorSpec> inputs;
  std::vector<Output> outputs;
  std::string gate;
  std::string failure;
  std::string fail_on;
  int instances = 1;
};

/// InvalidInput where the file is no toy plan.
ToyPlan read_toy_plan(const std::string& path);

}  // namespace trtserve::toy
