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

/// Refuses external tensor data outside the folder of the model (`path`): the parser would read any file. InvalidInput
/// if it names such a file, or if the bytes are not an ONNX model.
void check_external_data(std::string_view model, const std::string& path);

}  // namespace trtserve::tensorrt
