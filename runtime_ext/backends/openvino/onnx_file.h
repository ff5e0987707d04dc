#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trtserve::openvino {

/// An input or output as the graph of an ONNX file declares it.
struct DeclaredTensor {
  std::string name;
  int32_t elem_type = 0;                      // a TensorProto.DataType; 0 if the file does not say
  std::optional<std::vector<int64_t>> shape;  // -1 for a dynamic dimension; nothing if the file does not say
  std::vector<std::string> symbols;           // a name for each dimension of `shape`, or ""
};

/// The declarations of an ONNX file.
struct OnnxFile {
  int64_t ir_version = 0;
  std::map<std::string, int64_t> opsets;  // version by domain; "" is ai.onnx
  std::vector<DeclaredTensor> inputs;     // in the file's order, without inputs that initializers define
  std::vector<DeclaredTensor> outputs;    // in the file's order
};

/// Reads and checks an ONNX file, before anything else does: see docs/security.md. InvalidInput for a file that is
/// damaged, incomplete, or refers to other files; Unsupported if only a newer release could read it; Unavailable if it
/// cannot be read.
OnnxFile read_onnx_file(const std::string& path);

/// Reads a file that is already in memory.
OnnxFile read_onnx_bytes(std::string_view bytes);

}  // namespace trtserve::openvino
