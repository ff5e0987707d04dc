#pragma once

#include <memory>

#include <openvino/core/model.hpp>

#include "backends/openvino/onnx_file.h"

namespace trtserve::openvino {

/// Returns the model with all inputs that the file declares: OpenVINO's frontend replaces an input without elements by
/// a constant.
std::shared_ptr<ov::Model> with_empty_inputs(const std::shared_ptr<ov::Model>& model, const OnnxFile& file);

/// Gives declared outputs without elements their shapes: OpenVINO's frontend turns such a constant into a single
/// number. Unsupported if the output is computed.
void fill_empty_outputs(const std::shared_ptr<ov::Model>& model, const OnnxFile& file);

/// Throws InvalidInput, naming the tensor, unless the model has the inputs and outputs that the file declares, with
/// matching datatypes, ranks and known sizes. A size that only one of them knows is accepted.
void check_declared(const ov::Model& model, const OnnxFile& file);

}  // namespace trtserve::openvino
