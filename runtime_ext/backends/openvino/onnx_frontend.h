#pragma once

#include <memory>
#include <string>

#include <openvino/core/model.hpp>

#include "backends/openvino/onnx_file.h"

namespace trtserve::openvino {

/// Converts an ONNX file that read_onnx_file() has read (`file`) to OpenVINO's model. Unsupported, naming the node, for
/// an operator that OpenVINO lacks, or lacks for these types; InvalidInput for errors that it finds.
std::shared_ptr<ov::Model> read_onnx(const std::string& path, const OnnxFile& file);

}  // namespace trtserve::openvino
