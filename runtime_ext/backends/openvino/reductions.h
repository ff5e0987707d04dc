#pragma once

#include <memory>
#include <vector>

#include <openvino/core/extension.hpp>

namespace trtserve::openvino {

/// ReduceL1, ReduceLogSum and ReduceLogSumExp as ONNX defines them. From opset 13 on, OpenVINO's frontend reads their
/// axes from the inputs, though ONNX moves them there only in opset 18: it ignores the attribute and reduces over all
/// axes.
std::vector<std::shared_ptr<ov::Extension>> reductions();

}  // namespace trtserve::openvino
