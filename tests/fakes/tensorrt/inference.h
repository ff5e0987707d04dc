#pragma once

#include <map>
#include <string>
#include <vector>

#include "context_state.h"

namespace trtserve::fake::trt {

/// The shapes of a context's tensors that follow from its settings so far.
struct Inference {
  std::vector<Shape> shapes;           ///< one per tensor of the plan; -1 if unknown
  std::vector<const Tensor*> missing;  ///< inputs that need a shape or an address
  std::map<size_t, Shape> values;      ///< the shape inputs' values, by tensor
  std::string error;                   ///< the fault in shapes or values; empty if there is none
};

/// Infers the shapes, reading the shape inputs' current values.
Inference infer(const ContextState& context);

/// Like infer(), and remembers the values: the caller relies on the result until the next enqueueV3.
Inference infer_and_remember(ContextState& context);

/// Writes the outputs that inference computes, if they have an address.
void write_host_outputs(const ContextState& context, const Inference& inference);

/// Why the profile does not accept the input in that shape; an empty string if it does.
std::string objection(const ContextState& context, const Tensor& input, const Shape& shape);

}  // namespace trtserve::fake::trt
