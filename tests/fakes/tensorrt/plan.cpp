#include "plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sstream>
#include <type_traits>

namespace trtserve::fake::trt {

namespace {

constexpr size_t kSizeAt = 8;

void check_header(const unsigned char* bytes, size_t size) {
  if (size < 4 || std::memcmp(bytes, kPlanMagic, 4) != 0) {
    throw PlanError(
        "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.Trying to load an engine created with "
        "incompatible serialization version.");
  }
  uint64_t total = 0;
  if (size >= kHeaderBytes) std::memcpy(&total, bytes + kSizeAt, sizeof(total));
  if (total != size) throw PlanError("Serialization assertion size == header.engineSize failed.The plan is truncated.");
  const std::array<int, 3> version = {bytes[kVersionAt[0]], bytes[kVersionAt[1]], bytes[kVersionAt[2]]};
  if (version[0] != NV_TENSORRT_MAJOR || version[1] != NV_TENSORRT_MINOR || version[2] != NV_TENSORRT_PATCH) {
    std::ostringstream sentence;
    sentence << "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. "
             << "Note: Current Version: " << NV_TENSORRT_MAJOR << '.' << NV_TENSORRT_MINOR << '.' << NV_TENSORRT_PATCH
             << ", Serialized Engine Version: " << version[0] << '.' << version[1] << '.' << version[2];
    throw PlanError(sentence.str());
  }
}

bool in_order(const Range& range, size_t count) {
  for (const auto& bound : range) {
    if (bound.size() != count) return false;
  }
  for (size_t i = 0; i < count; ++i) {
    if (range[0][i] > range[1][i] || range[1][i] > range[2][i]) return false;
  }
  return true;
}

void check_dims(const Tensor& input, const Profile& profile) {
  const auto found = profile.dims.find(input.name);
  if ((found != profile.dims.end()) != input.is_dynamic()) {
    throw PlanError("toy plan: every profile has a range for every dynamic input, '" + input.name + "' too");
  }
  if (found == profile.dims.end()) return;
  bool agrees = in_order(found->second, input.dims.size());
  for (size_t i = 0; agrees && i < input.dims.size(); ++i) {
    const bool fixed = found->second[0][i] == input.dims[i] && found->second[2][i] == input.dims[i];
    agrees = found->second[0][i] >= 0 && (input.dims[i] == -1 || fixed);
  }
  if (!agrees) throw PlanError("toy plan: the range of input '" + input.name + "' does not agree with its dimensions");
}

void check_values(const Tensor& input, const Profile& profile) {
  const auto found = profile.values.find(input.name);
  if (found == profile.values.end() || !in_order(found->second, static_cast<size_t>(input.dims[0]))) {
    throw PlanError("toy plan: every profile has values for every shape input, '" + input.name + "' too");
  }
}

void check_profiles(const Plan& plan) {
  for (const auto& profile : plan.profiles) {
    for (const auto& tensor : plan.tensors) {
      if (tensor.kind == Kind::Input) check_dims(tensor, profile);
      if (tensor.kind == Kind::ShapeInput) check_values(tensor, profile);
    }
  }
}

void report_values(Profile& profile) {
  for (const auto& [name, range] : profile.values) {
    auto& reported = profile.reported_values[name];
    for (size_t i = 0; i < range.size(); ++i) reported[i].assign(range[i].begin(), range[i].end());
  }
}

}  // namespace

bool Tensor::is_dynamic() const { return std::find(dims.begin(), dims.end(), -1) != dims.end(); }

const Tensor* Plan::find(const char* tensor_name) const {
  if (tensor_name == nullptr) return nullptr;
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& tensor) { return tensor.name == tensor_name; });
  return found == tensors.end() ? nullptr : &*found;
}

const std::string* Plan::failure(const std::string& where) const {
  const auto found = failures.find(where);
  return found == failures.end() ? nullptr : &found->second;
}

bool Plan::has_profile(int32_t profile) const { return profile >= 0 && static_cast<size_t>(profile) < profiles.size(); }

int64_t Plan::scratch_bytes(const std::vector<Shape>& shapes) const {
  if (!scratch_per_item) return scratch;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].kind == Kind::Input) return shapes[i].empty() ? scratch : scratch * shapes[i][0];
  }
  return scratch;
}

int64_t Plan::scratch_bytes(int32_t profile) const {
  std::vector<Shape> largest;
  for (const auto& tensor : tensors) {
    const auto& ranges = profiles[static_cast<size_t>(profile)].dims;
    const auto found = ranges.find(tensor.name);
    largest.push_back(found == ranges.end() ? tensor.dims : found->second[2]);
  }
  return scratch_bytes(largest);
}

int64_t Plan::most_scratch_bytes() const {
  int64_t largest = 0;
  for (int32_t i = 0; has_profile(i); ++i) largest = std::max(largest, scratch_bytes(i));
  return largest;
}

Plan read_plan(const void* bytes, size_t size) {
  check_header(static_cast<const unsigned char*>(bytes), size);
  Plan plan;
  std::istringstream text(std::string(static_cast<const char*>(bytes) + kHeaderBytes, size - kHeaderBytes));
  for (std::string line; std::getline(text, line);) {
    if (!line.empty()) read_line(plan, line);
  }
  if (plan.profiles.empty()) plan.profiles.emplace_back();
  check_profiles(plan);
  for (auto& profile : plan.profiles) report_values(profile);
  return plan;
}

int64_t element_count(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::string format(const Shape& shape) {
  std::string text = "[";
  for (const auto dim : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

Shape to_shape(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::clamp(dims.nbDims, 0, dims.MAX_DIMS)}; }

nvinfer1::Dims to_dims(const Shape& shape) {
  nvinfer1::Dims dims{static_cast<int32_t>(shape.size()), {}};
  using Size = std::remove_reference_t<decltype(dims.d[0])>;
  std::transform(shape.begin(), shape.end(), dims.d, [](int64_t dim) { return static_cast<Size>(dim); });
  return dims;
}

}  // namespace trtserve::fake::trt
