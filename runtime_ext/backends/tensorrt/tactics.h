#pragma once

namespace nvinfer1 {
class IBuilderConfig;
}

namespace trtserve::tensorrt {

/// Takes away the tactic sources whose libraries are not there (cuBLAS and cuDNN, which TensorRT 8 uses by default):
/// with them, the build would fail.
void drop_missing_tactics(nvinfer1::IBuilderConfig& config);

}  // namespace trtserve::tensorrt
