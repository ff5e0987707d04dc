#pragma once

#include <vector>

#include "core/build_options.h"

namespace nvinfer1 {
class INetworkDefinition;
class IOptimizationProfile;
}  // namespace nvinfer1

namespace trtserve::tensorrt {

/// What profiles must say of one input of a network.
struct ProfiledInput {
  std::string name;
  std::vector<int64_t> shape;  ///< -1: dynamic
  bool takes_values = false;   ///< its values decide shapes: a profile has these instead of shapes

  bool is_dynamic() const;
  bool needs_range() const { return takes_values || is_dynamic(); }
};

std::vector<ProfiledInput> profiled_inputs(const nvinfer1::INetworkDefinition& network);

/// The profiles to build: those of the options, or one from `max_batch_size` where dimension 0 is the only dynamic one
/// of every dynamic input; none if no input needs any. InvalidInput names the input, what came, what is allowed, and an
/// example.
std::vector<BuildProfile> plan_profiles(const std::vector<ProfiledInput>& inputs, const BuildOptions& options);

/// Copies a checked profile into TensorRT's. False if TensorRT refused a part, and has logged why.
bool fill(nvinfer1::IOptimizationProfile& to, const BuildProfile& profile, const std::vector<ProfiledInput>& inputs);

}  // namespace trtserve::tensorrt
