#include "backends/openvino/onnx_frontend.h"

#include <algorithm>

#include <openvino/frontend/manager.hpp>

#include "backends/openvino/load_failure.h"
#include "backends/openvino/reductions.h"
#include "backends/openvino/shown.h"
#include "core/error.h"

namespace trtserve::openvino {

namespace {

/// OpenVINO makes an input of what it does not know where to take from: of a sequence's elements, say.
void check_inputs(const ov::Model& model, const OnnxFile& file) {
  for (const auto& parameter : model.get_parameters()) {
    const auto& name = parameter->get_friendly_name();
    const auto& inputs = file.inputs;
    if (std::any_of(inputs.begin(), inputs.end(), [&](const auto& input) { return input.name == name; })) continue;
    fail(Kind::Unsupported, "OpenVINO cannot compute '", shown(name),
         "' of the ONNX file, and would take it for an input: export the model with other operators");
  }
}

}  // namespace

/// Asks the ONNX frontend alone: the others take several files, or run what is in them.
std::shared_ptr<ov::Model> read_onnx(const std::string& path, const OnnxFile& file) {
  const auto frontend = ov::frontend::FrontEndManager().load_by_framework("onnx");
  if (!frontend) fail(Kind::Unsupported, "this server's OpenVINO has no frontend for ONNX");
  frontend->add_extension(reductions());
  try {
    const auto loaded = frontend->load(path);
    if (!loaded) fail(Kind::InvalidInput, "OpenVINO does not take the plan for an ONNX model");
    auto model = frontend->convert(loaded);
    check_inputs(*model, file);
    return model;
  } catch (const ov::Exception& error) {
    fail_conversion(error, path, file.opsets);
  }
}

}  // namespace trtserve::openvino
