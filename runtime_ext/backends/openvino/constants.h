#pragma once

#include <openvino/core/model.hpp>

namespace trtserve::openvino {

/// Throws Unsupported, naming the constant, a value and the node, if the model computes with a constant that does not
/// fit into the datatype in which OpenVINO computes: OpenVINO would use the nearest value that fits. Accepts constants
/// where that gives the same result, as with "to the end" in a Slice, or that are only combined with other constants,
/// which is computed here, exactly. May change the model, but not its results.
void check_constants(ov::Model& model);

}  // namespace trtserve::openvino
