#include "backends/tensorrt/profiles.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace trtserve::tensorrt {

namespace {

bool within(const ShapeRange& range, c10::IntArrayRef numbers) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] < range.min[i] || numbers[i] > range.max[i]) return false;
  }
  return true;
}

std::vector<int64_t> values_of(const at::Tensor& host) {
  const at::Tensor wide = host.to(at::kLong).contiguous();
  return {wide.const_data_ptr<int64_t>(), wide.const_data_ptr<int64_t>() + wide.numel()};
}

bool takes(const Tensors& tensors, size_t profile, c10::ArrayRef<at::Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& spec = tensors.inputs[i];
    if (!spec.profiles.empty() && !within(spec.profiles[profile], inputs[i].sizes())) return false;
    if (spec.on_host && !spec.values.empty() && !within(spec.values[profile], values_of(inputs[i]))) return false;
  }
  return true;
}

/// The distance of the inputs' sizes from the profile's optimum: the sum of the logarithms of their ratios.
double distance(const Tensors& tensors, size_t profile, c10::ArrayRef<at::Tensor> inputs) {
  double sum = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& spec = tensors.inputs[i];
    if (spec.profiles.empty()) continue;
    for (size_t dim = 0; dim < spec.profiles[profile].opt.size(); ++dim) {
      const auto opt = static_cast<double>(spec.profiles[profile].opt[dim]);
      sum += std::abs(std::log1p(static_cast<double>(inputs[i].sizes()[dim])) - std::log1p(opt));
    }
  }
  return sum;
}

[[noreturn]] void refuse(const Tensors& tensors, c10::ArrayRef<at::Tensor> inputs) {
  std::string came;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& spec = tensors.inputs[i];
    if (i != 0) came += ", ";
    came += c10::str("'", spec.name, "' ", format_shape(inputs[i].sizes()));
    if (spec.on_host && !spec.values.empty()) came += c10::str(" of values ", format_shape(values_of(inputs[i])));
  }
  std::string allowed;
  for (size_t profile = 0; profile < static_cast<size_t>(tensors.profiles); ++profile) {
    allowed += c10::str(profile == 0 ? "" : "; ", "profile ", profile, ":");
    for (const auto& spec : tensors.inputs) {
      if (!spec.profiles.empty()) {
        const auto& range = spec.profiles[profile];
        allowed += c10::str(" '", spec.name, "' from ", format_shape(range.min), " to ", format_shape(range.max));
      }
      if (!spec.values.empty()) {
        const auto& range = spec.values[profile];
        allowed +=
            c10::str(" values of '", spec.name, "' from ", format_shape(range.min), " to ", format_shape(range.max));
      }
    }
  }
  fail(Kind::InvalidInput, "no profile of the engine takes these inputs together: ", came, "; the engine has ",
       allowed);
}

}  // namespace

int32_t choose_profile(const Tensors& tensors, c10::ArrayRef<at::Tensor> inputs) {
  std::optional<int32_t> best;
  double nearest = std::numeric_limits<double>::infinity();
  for (int32_t profile = 0; profile < tensors.profiles; ++profile) {
    if (!takes(tensors, static_cast<size_t>(profile), inputs)) continue;
    const double far = distance(tensors, static_cast<size_t>(profile), inputs);
    if (!best || far < nearest) {
      best = profile;
      nearest = far;
    }
  }
  if (!best) refuse(tensors, inputs);
  return *best;
}

}  // namespace trtserve::tensorrt
