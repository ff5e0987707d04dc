#pragma once

#include <string>
#include <string_view>

#include "backends/tensorrt/build_log.h"

namespace nvonnxparser {
class IParser;
}

namespace trtserve::tensorrt {

/// Adds the model's layers to the parser's network. `path`: where the model was read from, for data beside it.
///
/// A failure is one sentence that names operator, node and number, and says what to do: Unsupported if TensorRT does
/// not know or support the operator, InvalidInput if the model is at fault, Unavailable if memory ran out.
void parse(nvonnxparser::IParser& parser, std::string_view model, const std::string& path, const BuildLog& log,
           const std::string& version);

}  // namespace trtserve::tensorrt
