#pragma once

#include <exception>
#include <string>

#include "backends/openvino/onnx_graph.h"

namespace trtserve::openvino {

/// Throws what is to be told of a failure to convert the ONNX file at `path`: the node and its operator, as the file
/// names them, and what of OpenVINO's reason helps. Unsupported where OpenVINO lacks something, else InvalidInput.
[[noreturn]] void fail_conversion(const std::exception& error, const std::string& path, const Opsets& opsets);

/// Throws what a client is told of a failure to import or to compile a model, which names no node of a file.
[[noreturn]] void fail_load(const std::exception& error);

}  // namespace trtserve::openvino
