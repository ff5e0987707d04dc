#pragma once

#include <memory>

#include <openvino/op/util/sub_graph_base.hpp>

namespace trtserve::openvino {

/// A loop output that concatenates the outputs of all iterations.
using Scan = ov::op::util::SubGraphOp::ConcatOutputDescription;

/// Guards the iterations' outputs: all must have the first one's shape, as ONNX requires. OpenVINO assumes this, and
/// otherwise writes beyond the joined tensor.
void guard_scan(const std::shared_ptr<ov::op::util::SubGraphOp>& loop, const Scan& scan);

}  // namespace trtserve::openvino
