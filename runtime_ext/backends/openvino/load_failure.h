#pragma once

#include <exception>
#include <string>

#include "backends/openvino/onnx_graph.h"

namespace trtserve::openvino {

/// Reports a failure to convert the ONNX file at `path`: throws an Error that names the node and its operator as in the
/// file, with the helpful part of OpenVINO's reason. Unsupported if OpenVINO lacks a feature, otherwise InvalidInput.
[[noreturn]] void fail_conversion(const std::exception& error, const std::string& path, const Opsets& opsets);

/// Reports a failure to import or compile a model as an Error, without naming a node of the file.
[[noreturn]] void fail_load(const std::exception& error);

}  // namespace trtserve::openvino
