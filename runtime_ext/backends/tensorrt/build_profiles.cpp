#include "backends/tensorrt/build_profiles.h"

#include <algorithm>
#include <array>
#include <utility>

#include <c10/util/accumulate.h>

#include "backends/tensorrt/builder_generation.h"
#include "backends/tensorrt/tensors.h"
#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

using nvinfer1::OptProfileSelector;

constexpr std::array<std::pair<OptProfileSelector, std::vector<int64_t> ShapeRange::*>, 3> kParts = {
    {{OptProfileSelector::kMIN, &ShapeRange::min},
     {OptProfileSelector::kOPT, &ShapeRange::opt},
     {OptProfileSelector::kMAX, &ShapeRange::max}}};
constexpr std::array kWords = {"least", "best", "greatest"};
constexpr std::array<int64_t, 3> kExample = {1, 8, 32};

/// "1x3x224x224": how people write a shape in a profile.
std::string written(const std::vector<int64_t>& sizes) {
  std::string text;
  for (const int64_t size : sizes) text += c10::str(text.empty() ? "" : "x", size);
  return text;
}

std::string example(const ProfiledInput& input) {
  std::string text;
  for (const int64_t size : kExample) {
    std::vector<int64_t> sizes = input.shape;
    if (input.takes_values) sizes.assign(static_cast<size_t>(c10::multiply_integers(input.shape)), size);
    std::replace(sizes.begin(), sizes.end(), int64_t{-1}, size);
    text += c10::str(text.empty() ? "" : "/", written(sizes));
  }
  return c10::str(input.name, ":", text);
}

std::string advice(const ProfiledInput& input) {
  return c10::str("write its least, best and greatest ", input.takes_values ? "values" : "shape", ", for example ",
                  example(input));
}

std::string names_of(const std::vector<ProfiledInput>& inputs) {
  std::string names;
  for (const auto& input : inputs) names += c10::str(names.empty() ? "'" : ", '", input.name, "'");
  return names;
}

/// How many numbers each part of the input's range has.
size_t count_of(const ProfiledInput& input) {
  return input.takes_values ? static_cast<size_t>(c10::multiply_integers(input.shape)) : input.shape.size();
}

void check_part(const ProfiledInput& input, size_t profile, const char* word, const std::vector<int64_t>& sizes) {
  const char* what = input.takes_values ? "values" : "shape";
  const auto refuse = [&](const auto&... reason) {
    fail(Kind::InvalidInput, "profile ", profile, " gives input '", input.name, "' as its ", word, " ", what, " ",
         format_shape(sizes), ", ", reason..., ": ", advice(input));
  };
  if (sizes.size() != count_of(input)) {
    input.takes_values ? refuse("but the input has ", count_of(input), " values")
                       : refuse("but the input has shape ", format_shape(input.shape));
  }
  if (input.takes_values) return;
  to_dims(sizes);  // TensorRT's limits
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0) refuse("but no dimension is less than 0");
    if (input.shape[i] >= 0 && sizes[i] != input.shape[i]) {
      refuse("but the model fixes dimension ", i, " at ", input.shape[i]);
    }
  }
}

void check_range(const ProfiledInput& input, size_t profile, const ShapeRange& range) {
  for (size_t part = 0; part < kParts.size(); ++part) {
    check_part(input, profile, kWords[part], range.*kParts[part].second);
  }
  for (size_t i = 0; i < range.min.size(); ++i) {
    if (range.min[i] <= range.opt[i] && range.opt[i] <= range.max[i]) continue;
    fail(Kind::InvalidInput, "profile ", profile, " gives input '", input.name, "' from ", format_shape(range.min),
         " over ", format_shape(range.opt), " to ", format_shape(range.max), ", but number ", i,
         " of these must not fall: ", advice(input));
  }
}

void check_profile(const std::vector<ProfiledInput>& inputs, size_t number, const BuildProfile& profile) {
  for (const auto& [name, range] : profile) {
    const auto found =
        std::find_if(inputs.begin(), inputs.end(), [&](const ProfiledInput& input) { return input.name == name; });
    if (found == inputs.end()) {
      fail(Kind::InvalidInput, "profile ", number, " names an input '", name, "'; the model's inputs are ",
           names_of(inputs));
    }
    check_range(*found, number, range);
  }
  for (const auto& input : inputs) {
    if (!input.needs_range() || profile.count(input.name) != 0) continue;
    fail(Kind::InvalidInput, "profile ", number, " does not say what input '", input.name, "' of shape ",
         format_shape(input.shape), " takes: ", advice(input));
  }
}

ShapeRange batch_range(const ProfiledInput& input, int64_t max_batch_size) {
  const auto rest = input.shape.empty() ? input.shape.end() : input.shape.begin() + 1;
  if (input.takes_values || std::find(rest, input.shape.end(), -1) != input.shape.end()) {
    fail(Kind::InvalidInput, "without a profile, only dimension 0 of an input may be dynamic, but input '", input.name,
         "' ",
         input.takes_values ? "takes values that decide shapes" : c10::str("has shape ", format_shape(input.shape)),
         ": give a profile, and in it ", advice(input));
  }
  ShapeRange range{input.shape, input.shape, input.shape};
  range.min.front() = 1;
  range.opt.front() = range.max.front() = max_batch_size;
  return range;
}

}  // namespace

bool ProfiledInput::is_dynamic() const { return std::find(shape.begin(), shape.end(), -1) != shape.end(); }

std::vector<ProfiledInput> profiled_inputs(const nvinfer1::INetworkDefinition& network) {
  std::vector<ProfiledInput> inputs;
  for (int32_t i = 0; i < network.getNbInputs(); ++i) {
    const auto* tensor = network.getInput(i);
    inputs.push_back({tensor->getName(), to_vector(tensor->getDimensions()), tensor->isShapeTensor()});
  }
  return inputs;
}

std::vector<BuildProfile> plan_profiles(const std::vector<ProfiledInput>& inputs, const BuildOptions& options) {
  for (const auto& input : inputs) {
    if (!input.takes_values || !input.is_dynamic()) continue;
    fail(Kind::Unsupported, "the values of input '", input.name, "' decide shapes, and how many they are (",
         format_shape(input.shape), ") is known only at run time: export the model with a fixed length for it");
  }
  for (size_t i = 0; i < options.profiles.size(); ++i) check_profile(inputs, i, options.profiles[i]);
  if (!options.profiles.empty()) return options.profiles;
  BuildProfile profile;
  for (const auto& input : inputs) {
    if (input.needs_range()) profile.emplace(input.name, batch_range(input, options.max_batch_size));
  }
  if (profile.empty()) return {};
  check_profile(inputs, 0, profile);
  return {profile};
}

bool fill(nvinfer1::IOptimizationProfile& to, const BuildProfile& profile, const std::vector<ProfiledInput>& inputs) {
  for (const auto& input : inputs) {
    const auto found = profile.find(input.name);
    if (found == profile.end()) continue;
    for (const auto& [selector, part] : kParts) {
      const auto& sizes = found->second.*part;
      const bool taken = input.takes_values ? generation::set_values(to, input.name.c_str(), selector, sizes)
                                            : to.setDimensions(input.name.c_str(), selector, to_dims(sizes));
      if (!taken) return false;
    }
  }
  return true;
}

}  // namespace trtserve::tensorrt
