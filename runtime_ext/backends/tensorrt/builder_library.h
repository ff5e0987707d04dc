#pragma once

#include <string>
#include <vector>

#include "backends/tensorrt/library.h"

namespace nvonnxparser {
class IParser;
}
namespace nvinfer1 {
class IBuilder;
class INetworkDefinition;
}  // namespace nvinfer1

namespace trtserve::tensorrt {

/// The builder of an opened TensorRT, and the ONNX parser that belongs to it, which is a library of its own. Opened and
/// never closed. Immutable and thread safe.
class BuilderLibrary {
 public:
  /// Looks for the parser beside `library`, beside the `others` (paths of libraries that might have been opened
  /// instead), and by the system's loader. Unsupported, with the reasons, if the library has no builder (the lean one)
  /// or there is no parser.
  BuilderLibrary(const Library& library, const std::vector<std::string>& others);

  /// Null after an error, which `logger` got. A builder is valid only if it got none.
  nvinfer1::IBuilder* create_builder(nvinfer1::ILogger& logger) const;

  /// Null after an error, which `logger` got.
  nvonnxparser::IParser* create_parser(nvinfer1::INetworkDefinition& network, nvinfer1::ILogger& logger) const;

  /// Registers NVIDIA's own plugins, if their library is there.
  void register_plugins(nvinfer1::ILogger& logger) const;

 private:
  const Library& library_;
  void* create_parser_ = nullptr;     // the function's address
  void* register_plugins_ = nullptr;  // likewise; null if the library of plugins cannot be opened
};

}  // namespace trtserve::tensorrt
