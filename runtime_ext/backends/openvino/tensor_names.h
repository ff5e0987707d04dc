#pragma once

#include <string>
#include <vector>

#include <openvino/runtime/compiled_model.hpp>

#include "backends/openvino/onnx_file.h"

namespace trtserve::openvino {

/// The names of a model's inputs and outputs, in order.
struct TensorNames {
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
};

/// The names that the file declares. OpenVINO's model loses them when it removes nodes: it may then have several names
/// for one tensor, and none for another.
TensorNames names_of(const OnnxFile& file);

/// The names in an exported blob. If a tensor has several names, uses that of the node that the exporter made for the
/// input or output, otherwise the alphabetically first unused one; "input0" if there is none.
TensorNames names_of(const ov::CompiledModel& blob);

}  // namespace trtserve::openvino
