#pragma once

// Hides the differences between the generations of the builder's and the ONNX parser's API behind common names, as
// generation.h does for the runtime's. Compiled only where NvInfer.h and NvOnnxParser.h were found.

#include <dlfcn.h>

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include "backends/tensorrt/generation.h"
#include "backends/tensorrt/precision.h"

namespace trtserve::tensorrt::generation {

using nvinfer1::BuilderFlag;
using nvinfer1::IBuilder;
using nvinfer1::IBuilderConfig;
using nvinfer1::INetworkDefinition;
using nvinfer1::IOptimizationProfile;

inline constexpr const char* kParserSoname = "libnvonnxparser.so.";
inline constexpr const char* kPluginsSoname = "libnvinfer_plugin.so.";

#pragma GCC diagnostic push
// TensorRT 10 deprecates what 11 has dropped.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/// The flag that lets the builder compute in a precision beside f32; nothing if this generation has none. TensorRT 11
/// has none at all: a network computes in the types of its model.
inline std::optional<BuilderFlag> flag_of(Precision precision) {
#if NV_TENSORRT_MAJOR < 11
  if (precision == Precision::F16) return BuilderFlag::kFP16;
  if (precision == Precision::Int8) return BuilderFlag::kINT8;
#if NV_TENSORRT_MAJOR >= 10
  if (precision == Precision::Bf16) return BuilderFlag::kBF16;
  if (precision == Precision::Fp8) return BuilderFlag::kFP8;
#endif
#endif
  static_cast<void>(precision);
  return std::nullopt;
}

/// True if the builder takes an order for the precision.
inline constexpr bool kTakesPrecision = kMajor < 11;

/// True if a network of this precision computes in exactly the types of its model, and takes no flags.
inline constexpr bool is_strongly_typed(Precision precision) {
  return kMajor >= 11 || (kMajor >= 10 && precision == Precision::Auto);
}

#if NV_TENSORRT_MAJOR >= 11
inline uint32_t network_flags(Precision /*precision*/) { return 0; }
#elif NV_TENSORRT_MAJOR >= 10
inline uint32_t network_flags(Precision precision) {
  const auto strong = static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
  return is_strongly_typed(precision) ? 1U << strong : 0;
}
#else
inline uint32_t network_flags(Precision /*precision*/) {
  return 1U << static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
}
#endif

inline INetworkDefinition* create_network(IBuilder& builder, Precision precision) {
  return builder.createNetworkV2(network_flags(precision));
}

/// A source of tactics that is another library, which TensorRT opens by name.
struct TacticLibrary {
  nvinfer1::TacticSource source;
  std::array<const char*, 2> names;  ///< of the library, by major versions
  const char* symbol;                ///< a function that every real one has
};

/// Those that are on by default: none since TensorRT 10.
inline std::vector<TacticLibrary> tactic_libraries() {
#if NV_TENSORRT_MAJOR < 10
  using nvinfer1::TacticSource;
  return {{TacticSource::kCUBLAS, {"libcublas.so.11", "libcublas.so.12"}, "cublasGetVersion_v2"},
          {TacticSource::kCUBLAS_LT, {"libcublasLt.so.11", "libcublasLt.so.12"}, "cublasLtGetVersion"},
          {TacticSource::kCUDNN, {"libcudnn.so.8", "libcudnn.so.8"}, "cudnnGetVersion"}};
#else
  return {};
#endif
}

#if NV_TENSORRT_MAJOR >= 10

/// True if the builder reports its progress.
inline constexpr bool kTellsProgress = true;

using IProgressMonitor = nvinfer1::IProgressMonitor;

inline void watch(IBuilderConfig& config, IProgressMonitor& monitor) { config.setProgressMonitor(&monitor); }

inline bool set_values(IOptimizationProfile& profile, const char* input, OptProfileSelector selector,
                       const std::vector<int64_t>& values) {
  return profile.setShapeValuesV2(input, selector, values.data(), static_cast<int32_t>(values.size()));
}

/// The name and the operator of the node at fault; empty if the parser does not tell.
inline std::pair<std::string, std::string> node_of(const nvonnxparser::IParserError& error) {
  const auto text = [](const char* from) { return std::string(from == nullptr ? "" : from); };
  return {text(error.nodeName()), text(error.nodeOperator())};
}

#else

inline constexpr bool kTellsProgress = false;

/// The interface of TensorRT 10, which nothing calls here.
class IProgressMonitor {
 public:
  virtual ~IProgressMonitor() = default;
  virtual void phaseStart(char const* phase, char const* parent, int32_t steps) noexcept = 0;
  virtual bool stepComplete(char const* phase, int32_t step) noexcept = 0;
  virtual void phaseFinish(char const* phase) noexcept = 0;
};

inline void watch(IBuilderConfig& /*config*/, IProgressMonitor& /*monitor*/) {}

inline bool set_values(IOptimizationProfile& profile, const char* input, OptProfileSelector selector,
                       const std::vector<int64_t>& values) {
  std::vector<int32_t> narrow;
  for (const int64_t value : values) {
    if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) return false;
    narrow.push_back(static_cast<int32_t>(value));
  }
  return profile.setShapeValues(input, selector, narrow.data(), static_cast<int32_t>(narrow.size()));
}

inline std::pair<std::string, std::string> node_of(const nvonnxparser::IParserError& /*error*/) { return {}; }

#endif

#pragma GCC diagnostic pop

#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6

/// Loads a library of plugins for the networks of this builder.
inline bool load_plugins(IBuilder& builder, nvinfer1::ILogger& /*logger*/, const char* path) {
  return builder.getPluginRegistry().loadLibrary(path) != nullptr;
}

#else

inline bool load_plugins(IBuilder& /*builder*/, nvinfer1::ILogger& logger, const char* path) {
  return open_plugins(logger, path);
}

#endif

}  // namespace trtserve::tensorrt::generation
