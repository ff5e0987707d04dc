#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trtserve::tensorrt {

/// A node of an ONNX model, as its author knows it.
struct OnnxNode {
  std::string name;  ///< may be empty
  std::string operation;
};

/// The node of that number in the model's graph; nothing if there is none.
std::optional<OnnxNode> find_node(std::string_view model, int number);

/// Refuses data in other files than the model (which lies at `path`): the parser would read any file. If it is
/// `allowed`, files of the model's folder may be read. InvalidInput names the file; also if the bytes are not an ONNX
/// model.
void check_external_data(std::string_view model, const std::string& path, bool allowed);

}  // namespace trtserve::tensorrt
