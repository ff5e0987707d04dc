#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace trtserve::openvino {

/// Returns the IR version if a release of ONNX has it; otherwise throws Unsupported, or InvalidInput if the file has
/// none.
int64_t check_ir_version(int64_t version);

/// The version of each operator domain in `imports`, a file's OperatorSetIdProtos; "" is ai.onnx. Unsupported for a
/// version that no release of ONNX has; InvalidInput if there are no imports, or two for one domain.
std::map<std::string, int64_t> read_opsets(const std::vector<std::string_view>& imports, int64_t ir_version);

}  // namespace trtserve::openvino
