#pragma once

#include <openvino/core/model.hpp>

namespace trtserve::openvino {

/// Throws Unsupported, naming the constant, a value and the node, where the model computes with a constant that does
/// not fit into the datatype in which OpenVINO computes: it would take the nearest that does. Where that comes to the
/// same, as with "to the end" in a Slice, or where only constants are computed with it, which is done here, exactly,
/// nothing is to be said. May change the model, but not what it computes.
void check_constants(ov::Model& model);

}  // namespace trtserve::openvino
