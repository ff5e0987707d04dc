#pragma once

#include <string>
#include <vector>

#include <openvino/runtime/compiled_model.hpp>

#include "backends/openvino/onnx_file.h"

namespace trtserve::openvino {

/// What a model's tensors are called, in the order of its inputs and of its outputs.
struct TensorNames {
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
};

/// As the file declares them. OpenVINO's own model does not know them any more where it has taken nodes out: it then
/// has several names for one tensor, and of some none.
TensorNames names_of(const OnnxFile& file);

/// As an exported blob has them. Of several names for one tensor, that of the node which the exporter made for the
/// input or output is taken, else the first in the alphabet that nothing else has; "input0" where there is none.
TensorNames names_of(const ov::CompiledModel& blob);

}  // namespace trtserve::openvino
