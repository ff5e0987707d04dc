#include "backends/openvino/value_range.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>

#include "core/error.h"

namespace trtserve::openvino {

namespace {

constexpr int64_t kLeast = std::numeric_limits<int32_t>::min();
constexpr int64_t kGreatest = std::numeric_limits<int32_t>::max();
constexpr double kGreatestFloat = std::numeric_limits<float>::max();

bool outside(int64_t value) { return value < kLeast || value > kGreatest; }
bool outside(uint64_t value) { return value > static_cast<uint64_t>(kGreatest); }
bool outside(uint32_t value) { return value > static_cast<uint32_t>(kGreatest); }
bool outside(double value) { return std::fabs(value) > kGreatestFloat; }  // true for infinities, false for NaN

/// Has no branch per element, so that the compiler can vectorize it.
template <typename T>
bool any_outside(const T* values, size_t count) {
  unsigned any = 0;
  for (size_t i = 0; i < count; ++i) any |= static_cast<unsigned>(outside(values[i]));
  return any != 0;
}

template <typename T>
void check_all(const TensorSpec& spec, const at::Tensor& tensor) {
  const auto* const values = static_cast<const T*>(tensor.const_data_ptr());
  const auto count = static_cast<size_t>(tensor.numel());
  if (!any_outside(values, count)) return;
  const auto* const found = std::find_if(values, values + count, [](T value) { return outside(value); });
  const std::string range = std::is_floating_point_v<T>
                                ? "finite numbers from -3.4028235e+38 to 3.4028235e+38"
                                : c10::str("whole numbers from ", std::is_signed_v<T> ? kLeast : 0, " to ", kGreatest);
  fail(Kind::InvalidInput, "input '", spec.name, "' has ", *found, " at element ", found - values,
       "; this engine computes with its ", datatype_name(spec.dtype), " as ", datatype_name(*spec.computed_as),
       ", so it accepts ", range);
}

bool is_float(const ov::element::Type& type) {
  return type == ov::element::f16 || type == ov::element::bf16 || type == ov::element::f32 || type == ov::element::f64;
}

}  // namespace

std::optional<c10::ScalarType> computed_as(c10::ScalarType dtype, const ov::element::Type& float_type) {
  switch (dtype) {
    case c10::ScalarType::Long:
    case c10::ScalarType::Short:
    case c10::ScalarType::UInt16:
    case c10::ScalarType::UInt32:
    case c10::ScalarType::UInt64:
      return c10::ScalarType::Int;
    case c10::ScalarType::Double:
      return c10::ScalarType::Float;
    case c10::ScalarType::Half:
      return float_type == ov::element::f16 ? std::nullopt : std::optional(c10::ScalarType::Float);
    default:
      return std::nullopt;
  }
}

std::vector<ov::element::Type> cast_first(const ov::Model& model) {
  std::vector<ov::element::Type> casts;
  for (const auto& input : model.inputs()) {
    ov::element::Type widest = ov::element::dynamic;
    for (const auto& target : input.get_target_inputs()) {
      const auto& type = target.get_node()->get_output_size() == 1 ? target.get_node()->get_output_element_type(0)
                                                                   : ov::element::dynamic;
      if (!ov::is_type<ov::op::v0::Convert>(target.get_node()) || !is_float(type)) {
        widest = ov::element::dynamic;
        break;
      }
      if (widest == ov::element::dynamic || type.bitwidth() > widest.bitwidth()) widest = type;
    }
    casts.push_back(widest);
  }
  return casts;
}

std::set<size_t> narrow_outputs(const std::shared_ptr<ov::Model>& model) {
  std::set<size_t> narrowed;
  const auto& results = model->get_results();
  for (size_t i = 0; i < results.size(); ++i) {
    const auto source = results[i]->input_value(0);
    const auto* node = source.get_node();
    if (source.get_element_type() != ov::element::f64 || ov::is_type<ov::op::v0::Parameter>(node) ||
        ov::is_type<ov::op::v0::Constant>(node)) {
      continue;
    }
    results[i]->input(0).replace_source_output(std::make_shared<ov::op::v0::Convert>(source, ov::element::f32));
    results[i]->validate_and_infer_types();
    narrowed.insert(i);
  }
  return narrowed;
}

bool may_not_fit(const TensorSpec& spec) {
  switch (spec.dtype) {
    case c10::ScalarType::Long:
    case c10::ScalarType::UInt32:
    case c10::ScalarType::UInt64:
      return spec.computed_as == c10::ScalarType::Int;
    case c10::ScalarType::Double:
      return spec.computed_as == c10::ScalarType::Float;
    default:
      return false;
  }
}

void check_values(const TensorSpec& spec, const at::Tensor& values) {
  switch (spec.dtype) {
    case c10::ScalarType::Long:
      return check_all<int64_t>(spec, values);
    case c10::ScalarType::UInt32:
      return check_all<uint32_t>(spec, values);
    case c10::ScalarType::UInt64:
      return check_all<uint64_t>(spec, values);
    case c10::ScalarType::Double:
      return check_all<double>(spec, values);
    default:
      return;
  }
}

}  // namespace trtserve::openvino
