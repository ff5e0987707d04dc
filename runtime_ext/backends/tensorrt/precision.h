#pragma once

#include <string>

namespace nvinfer1 {
class IBuilderConfig;
class INetworkDefinition;
}  // namespace nvinfer1

namespace trtserve::tensorrt {

/// What a plan may compute in beside f32. Auto: the types of the model.
enum class Precision { Auto, F32, F16, Bf16, Int8, Fp8 };

/// InvalidInput for an unknown word; Unsupported, with advice, for a precision that this generation of TensorRT does
/// not take.
Precision parse_precision(const std::string& word);

/// Allows the precision, and what the model's own types need, in a network that is not strongly typed. InvalidInput if
/// it needs a quantized model, and this is none.
void set_precision(Precision precision, const nvinfer1::INetworkDefinition& network, nvinfer1::IBuilderConfig& config);

}  // namespace trtserve::tensorrt
