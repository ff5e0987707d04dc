#include "backends/openvino/onnx_frontend.h"

#include <openvino/frontend/manager.hpp>

#include "backends/openvino/load_failure.h"
#include "backends/openvino/reductions.h"
#include "backends/openvino/sequences.h"
#include "core/error.h"

namespace trtserve::openvino {

/// Uses only the ONNX frontend: others read several files, or run code in them.
std::shared_ptr<ov::Model> read_onnx(const std::string& path, const OnnxFile& file) {
  const auto frontend = ov::frontend::FrontEndManager().load_by_framework("onnx");
  if (!frontend) fail(Kind::Unsupported, "this server's OpenVINO has no ONNX frontend");
  frontend->add_extension(reductions());
  frontend->add_extension(sequence_at());
  try {
    const auto loaded = frontend->load(path);
    if (!loaded) fail(Kind::InvalidInput, "OpenVINO does not recognize the plan as an ONNX model");
    return frontend->convert(loaded);
  } catch (const ov::Exception& error) {
    fail_conversion(error, path, file.opsets);
  }
}

}  // namespace trtserve::openvino
