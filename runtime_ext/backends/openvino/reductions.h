#pragma once

#include <memory>
#include <vector>

#include <openvino/core/extension.hpp>

namespace trtserve::openvino {

/// ReduceL1, ReduceLogSum and ReduceLogSumExp as ONNX defines them. From opset 13 on, OpenVINO's frontend looks for
/// their axes among the inputs, where they are only from opset 18 on: it reduced over all axes whatever the attribute
/// said.
std::vector<std::shared_ptr<ov::Extension>> reductions();

}  // namespace trtserve::openvino
