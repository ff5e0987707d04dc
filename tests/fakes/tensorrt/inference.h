#pragma once

#include <map>
#include <string>
#include <vector>

#include "context_state.h"

namespace trtserve::fake::trt {

/// The shapes of a context's tensors as they follow from what was set so far.
struct Inference {
  std::vector<Shape> shapes;           ///< one a tensor of the plan; -1 where unknown
  std::vector<const Tensor*> missing;  ///< inputs that want a shape or an address
  std::map<size_t, Shape> values;      ///< of the shape inputs, by tensor
  std::string error;                   ///< what is wrong with shapes or values; empty where nothing is
};

/// Reads the shape inputs' values from where they are now.
Inference infer(const ContextState& context);

/// As infer(), and remembers the values: what the caller learns from them is to hold until the next enqueueV3.
Inference infer_and_remember(ContextState& context);

/// Writes the values of the outputs that inferring computes, where they have an address.
void write_host_outputs(const ContextState& context, const Inference& inference);

/// An empty string where the profile takes the input in that shape, or why it does not.
std::string objection(const ContextState& context, const Tensor& input, const Shape& shape);

}  // namespace trtserve::fake::trt
