#include "backends/tensorrt/tensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>

#include <c10/util/accumulate.h>

#include "backends/tensorrt/datatypes.h"
#include "backends/tensorrt/generation.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

using nvinfer1::ICudaEngine;
using nvinfer1::OptProfileSelector;

bool is_dynamic(c10::IntArrayRef shape) {
  return std::any_of(shape.begin(), shape.end(), [](int64_t dim) { return dim < 0; });
}

/// Vectorized and padded layouts exist for engines inside other programs; requests carry plain arrays.
void check_format(const ICudaEngine& engine, const char* name) {
  for (int32_t profile = 0; profile < engine.getNbOptimizationProfiles(); ++profile) {
    if (generation::format(engine, name, profile) == nvinfer1::TensorFormat::kLINEAR) continue;
    fail(Kind::Unsupported, "tensor '", name, "' lies in memory as ", generation::format_text(engine, name, profile),
         "; this server accepts only row-major linear tensors: build the plan with linear inputs and outputs");
  }
}

ShapeRange shapes(const ICudaEngine& engine, const char* name, int32_t profile) {
  return {to_vector(engine.getProfileShape(name, profile, OptProfileSelector::kMIN)),
          to_vector(engine.getProfileShape(name, profile, OptProfileSelector::kOPT)),
          to_vector(engine.getProfileShape(name, profile, OptProfileSelector::kMAX))};
}

/// The range that a profile accepts for an input of `count` values; nothing if the profile defines none.
std::optional<ShapeRange> values(const ICudaEngine& engine, const char* name, int32_t profile, int64_t count) {
  ShapeRange range;
  const std::array<std::pair<OptProfileSelector, std::vector<int64_t>*>, 3> parts = {
      {{OptProfileSelector::kMIN, &range.min},
       {OptProfileSelector::kOPT, &range.opt},
       {OptProfileSelector::kMAX, &range.max}}};
  for (const auto& [selector, to] : parts) {
    auto found = generation::profile_values(engine, name, profile, selector, count);
    if (!found) return std::nullopt;
    *to = std::move(*found);
  }
  return range;
}

TensorSpec read(const ICudaEngine& engine, const char* name) {
  check_format(engine, name);
  TensorSpec spec;
  spec.name = name;
  spec.dtype = to_torch(engine.getTensorDataType(name), spec.name);
  spec.shape = to_vector(engine.getTensorShape(name));
  spec.on_host = engine.getTensorLocation(name) == nvinfer1::TensorLocation::kHOST;
  spec.format = engine.getTensorFormatDesc(name);
  return spec;
}

void read_profiles(const ICudaEngine& engine, TensorSpec& spec) {
  const bool dynamic = is_dynamic(*spec.shape);
  const bool has_values = engine.isShapeInferenceIO(spec.name.c_str()) && !dynamic;
  for (int32_t profile = 0; profile < engine.getNbOptimizationProfiles(); ++profile) {
    if (dynamic) spec.profiles.push_back(shapes(engine, spec.name.c_str(), profile));
    if (!has_values) continue;
    const auto range = values(engine, spec.name.c_str(), profile, c10::multiply_integers(*spec.shape));
    if (range) spec.values.push_back(*range);
  }
  // Ranges are indexed by profile, so an incomplete list is useless.
  if (spec.values.size() != static_cast<size_t>(engine.getNbOptimizationProfiles())) spec.values.clear();
}

}  // namespace

Tensors read_tensors(const ICudaEngine& engine) {
  Tensors tensors;
  tensors.profiles = engine.getNbOptimizationProfiles();
  for (int32_t i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* name = engine.getIOTensorName(i);
    auto spec = read(engine, name);
    if (engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT) {
      read_profiles(engine, spec);
      tensors.needs_values |= spec.on_host || engine.isShapeInferenceIO(name);
      tensors.inputs.push_back(std::move(spec));
    } else {
      if (const char* input = generation::aliased_input(engine, name)) {
        fail(Kind::Unsupported, "output '", name, "' shares its memory with input '", input,
             "'; this server accepts only engines whose outputs have their own memory");
      }
      tensors.outputs.push_back(std::move(spec));
    }
  }
  return tensors;
}

std::vector<int64_t> to_vector(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(dims.nbDims, 0)}; }

nvinfer1::Dims to_dims(c10::IntArrayRef sizes) {
  nvinfer1::Dims dims{};
  if (sizes.size() > static_cast<size_t>(nvinfer1::Dims::MAX_DIMS)) {
    fail(Kind::InvalidInput, "the tensor has ", sizes.size(), " dimensions; TensorRT accepts up to ",
         nvinfer1::Dims::MAX_DIMS);
  }
  dims.nbDims = static_cast<int32_t>(sizes.size());
  using Size = std::remove_reference_t<decltype(dims.d[0])>;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > std::numeric_limits<Size>::max()) {
      fail(Kind::InvalidInput, "the tensor has shape ", format_shape(sizes), "; a dimension may be at most ",
           std::numeric_limits<Size>::max(), " in this version of TensorRT");
    }
    dims.d[i] = static_cast<Size>(sizes[i]);
  }
  return dims;
}

}  // namespace trtserve::tensorrt
