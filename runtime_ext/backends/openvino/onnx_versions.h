#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace trtserve::openvino {

/// Returns the version if there is one that a release of ONNX has; else throws Unsupported, or InvalidInput for none.
int64_t check_ir_version(int64_t version);

/// The version of each domain of operators that a file names in `imports`, its OperatorSetIdProtos; "" is ai.onnx.
/// Unsupported for a version that no release of ONNX has; InvalidInput for none, or two of one domain.
std::map<std::string, int64_t> read_opsets(const std::vector<std::string_view>& imports, int64_t ir_version);

}  // namespace trtserve::openvino
