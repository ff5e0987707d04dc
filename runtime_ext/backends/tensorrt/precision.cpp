#include "backends/tensorrt/precision.h"

#include <algorithm>
#include <array>

#include "backends/tensorrt/builder_generation.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

using nvinfer1::BuilderFlag;
using nvinfer1::DataType;
using nvinfer1::INetworkDefinition;

struct Word {
  const char* text;
  Precision precision;
};

constexpr std::array kWords = {Word{"auto", Precision::Auto}, Word{"f32", Precision::F32},
                               Word{"f16", Precision::F16},   Word{"bf16", Precision::Bf16},
                               Word{"int8", Precision::Int8}, Word{"fp8", Precision::Fp8}};

const char* text_of(Precision precision) {
  return std::find_if(kWords.begin(), kWords.end(), [&](const Word& word) { return word.precision == precision; })
      ->text;
}

bool supported(Precision precision) {
  if (precision == Precision::Auto) return true;
  return generation::kTakesPrecision && (precision == Precision::F32 || generation::flag_of(precision).has_value());
}

std::string supported_words() {
  std::string words;
  for (const auto& word : kWords) {
    if (supported(word.precision)) words += c10::str(words.empty() ? "" : ", ", word.text);
  }
  return words;
}

bool has_type(const INetworkDefinition& network, DataType type) {
  for (int32_t i = 0; i < network.getNbLayers(); ++i) {
    const auto* layer = network.getLayer(i);
    for (int32_t output = 0; output < layer->getNbOutputs(); ++output) {
      if (const auto* tensor = layer->getOutput(output); tensor != nullptr && tensor->getType() == type) return true;
    }
  }
  for (int32_t i = 0; i < network.getNbInputs(); ++i) {
    if (network.getInput(i)->getType() == type) return true;
  }
  return false;
}

bool is_quantized(const INetworkDefinition& network) {
  for (int32_t i = 0; i < network.getNbLayers(); ++i) {
    if (network.getLayer(i)->getType() == nvinfer1::LayerType::kQUANTIZE) return true;
  }
  return false;
}

void allow(Precision precision, nvinfer1::IBuilderConfig& config) {
  if (const auto flag = generation::flag_of(precision)) config.setFlag(*flag);
}

}  // namespace

Precision parse_precision(const std::string& word) {
  const auto* found = std::find_if(kWords.begin(), kWords.end(), [&](const Word& each) { return each.text == word; });
  if (found == kWords.end()) {
    fail(Kind::InvalidInput, "precision is '", word, "'; TensorRT ", generation::kMajor, " takes ", supported_words());
  }
  if (supported(found->precision)) return found->precision;
  if (!generation::kTakesPrecision) {
    fail(Kind::Unsupported, "precision is '", word, "'; TensorRT ", generation::kMajor,
         " computes in the types of the model and takes only auto: convert the model first, for example with NVIDIA "
         "ModelOpt (python -m modelopt.onnx.autocast)");
  }
  fail(Kind::Unsupported, "precision is '", word, "'; TensorRT ", generation::kMajor, " takes ", supported_words());
}

void set_precision(Precision precision, const INetworkDefinition& network, nvinfer1::IBuilderConfig& config) {
  if (generation::is_strongly_typed(precision)) return;
  const bool quantized = is_quantized(network);
  if ((precision == Precision::Int8 || precision == Precision::Fp8) && !quantized) {
    fail(Kind::InvalidInput, "precision is '", text_of(precision),
         "', but the model is not quantized: it has no QuantizeLinear and DequantizeLinear nodes. Quantize it first, "
         "for example with NVIDIA ModelOpt (python -m modelopt.onnx.quantization), or use f16");
  }
  allow(precision, config);
  if (precision == Precision::Int8 || precision == Precision::Fp8) allow(Precision::F16, config);
  // TensorFloat-32 has the range of f32 and the precision of f16.
  if (precision == Precision::F32) config.clearFlag(BuilderFlag::kTF32);
  if (has_type(network, DataType::kHALF)) allow(Precision::F16, config);
  if (has_type(network, static_cast<DataType>(generation::kBf16))) allow(Precision::Bf16, config);
  if (has_type(network, static_cast<DataType>(generation::kFp8))) allow(Precision::Fp8, config);
  if (has_type(network, DataType::kINT8)) allow(Precision::Int8, config);
}

}  // namespace trtserve::tensorrt
