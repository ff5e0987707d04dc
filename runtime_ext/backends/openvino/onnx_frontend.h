#pragma once

#include <memory>
#include <string>

#include <openvino/core/model.hpp>

#include "backends/openvino/onnx_file.h"

namespace trtserve::openvino {

/// What OpenVINO makes of an ONNX file that read_onnx_file() has read, as `file`. Unsupported, naming the node, for an
/// operator that OpenVINO does not have, or not for these types; InvalidInput for what it finds wrong.
std::shared_ptr<ov::Model> read_onnx(const std::string& path, const OnnxFile& file);

}  // namespace trtserve::openvino
