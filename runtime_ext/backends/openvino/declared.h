#pragma once

#include <memory>

#include <openvino/core/model.hpp>

#include "backends/openvino/onnx_file.h"

namespace trtserve::openvino {

/// The model with the inputs that the file declares: OpenVINO's frontend makes a constant of one that has no elements.
std::shared_ptr<ov::Model> with_empty_inputs(const std::shared_ptr<ov::Model>& model, const OnnxFile& file);

/// Gives the outputs without elements that the file declares their shapes: OpenVINO's frontend makes a single number of
/// such a constant. Unsupported where the output is computed.
void fill_empty_outputs(const std::shared_ptr<ov::Model>& model, const OnnxFile& file);

/// Throws InvalidInput, naming the tensor, unless the model has the inputs and outputs that the file declares, each of
/// the datatype, the rank and the known sizes that it declares. What only one of them knows is no disagreement.
void check_declared(const ov::Model& model, const OnnxFile& file);

}  // namespace trtserve::openvino
