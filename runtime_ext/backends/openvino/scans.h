#pragma once

#include <memory>

#include <openvino/op/util/sub_graph_base.hpp>

namespace trtserve::openvino {

/// An output of a loop that joins what each iteration leaves.
using Scan = ov::op::util::SubGraphOp::ConcatOutputDescription;

/// Guards what the iterations leave: all of it must be of the first one's shape, as ONNX has it. OpenVINO takes that
/// for granted, and writes beyond the joined tensor where it is not so.
void guard_scan(const std::shared_ptr<ov::op::util::SubGraphOp>& loop, const Scan& scan);

}  // namespace trtserve::openvino
