#pragma once

#include <string>
#include <string_view>

namespace trtserve::tensorrt {

/// Refuses a model with an input or attribute that the parser of this generation would ignore without a word, and so
/// build a plan whose answers are wrong: Unsupported names the node and says what to do.
///
/// The parser of TensorRT 8 takes operators up to opset 17, but reads newer models too. It reduces over all axes where
/// opset 18 gives them as an input, and knows no `reduction` of Scatter, and nothing that opset 18 added to Resize
/// (onnx-tensorrt 8.5 and 8.6, builtin_op_importers.cpp). The parsers of TensorRT 10 and later refuse what they do not
/// know.
void check_nothing_is_ignored(std::string_view model, const std::string& version);

}  // namespace trtserve::tensorrt
