#include "core/tensor_spec.h"

#include <algorithm>
#include <array>
#include <set>

#include "core/byte_strings.h"
#include "core/error.h"
#include "core/utf8.h"

namespace trtserve {

namespace {

constexpr std::array kDatatypes = {
    Datatype{"BOOL", c10::ScalarType::Bool},     Datatype{"UINT8", c10::ScalarType::Byte},
    Datatype{"UINT16", c10::ScalarType::UInt16}, Datatype{"UINT32", c10::ScalarType::UInt32},
    Datatype{"UINT64", c10::ScalarType::UInt64}, Datatype{"INT8", c10::ScalarType::Char},
    Datatype{"INT16", c10::ScalarType::Short},   Datatype{"INT32", c10::ScalarType::Int},
    Datatype{"INT64", c10::ScalarType::Long},    Datatype{"FP16", c10::ScalarType::Half},
    Datatype{"BF16", c10::ScalarType::BFloat16}, Datatype{"FP32", c10::ScalarType::Float},
    Datatype{"FP64", c10::ScalarType::Double},
};

bool fits(const ShapeRange& range, c10::IntArrayRef shape) {
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < range.min[i] || (range.max[i] >= 0 && shape[i] > range.max[i])) return false;
  }
  return true;
}

std::string describe_profiles(const TensorSpec& spec) {
  std::string text;
  for (const auto& range : spec.profiles) {
    if (!text.empty()) text += " or ";
    text += c10::str("from ", format_shape(range.min), " to ", format_shape(range.max));
  }
  return text;
}

}  // namespace

c10::ArrayRef<Datatype> datatypes() { return kDatatypes; }

std::string datatype_name(c10::ScalarType dtype) {
  if (dtype == kBytes) return "BYTES";
  const auto* found =
      std::find_if(kDatatypes.begin(), kDatatypes.end(), [&](const Datatype& d) { return d.dtype == dtype; });
  return found == kDatatypes.end() ? c10::toString(dtype) : std::string(found->name);
}

std::optional<c10::ScalarType> parse_datatype(std::string_view name) {
  if (name == "BYTES") return kBytes;
  const auto* found =
      std::find_if(kDatatypes.begin(), kDatatypes.end(), [&](const Datatype& d) { return d.name == name; });
  if (found == kDatatypes.end()) return std::nullopt;
  return found->dtype;
}

std::string format_shape(c10::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += shape[i] < 0 ? "?" : std::to_string(shape[i]);
  }
  return text + "]";
}

void check_names(const std::vector<TensorSpec>& specs) {
  std::set<std::string_view> seen;
  for (const auto& spec : specs) {
    if (!is_utf8(spec.name)) fail(Kind::InvalidInput, "the plan has a tensor whose name is not UTF-8");
    if (!seen.insert(spec.name).second) {
      fail(Kind::InvalidInput, "the plan has two inputs, or two outputs, called '", spec.name, "'");
    }
  }
}

void check_input(const TensorSpec& spec, c10::ScalarType dtype, c10::IntArrayRef shape) {
  if (dtype != spec.dtype) {
    fail(Kind::InvalidInput, "input '", spec.name, "' has datatype ", datatype_name(dtype), "; the engine takes ",
         datatype_name(spec.dtype));
  }
  if (!spec.shape) return;
  const auto& allowed = *spec.shape;
  bool matches = shape.size() == allowed.size();
  for (size_t i = 0; matches && i < shape.size(); ++i) matches = allowed[i] < 0 || shape[i] == allowed[i];
  if (!matches) {
    fail(Kind::InvalidInput, "input '", spec.name, "' has shape ", format_shape(shape), "; the engine takes ",
         format_shape(allowed));
  }
  if (!spec.profiles.empty() && std::none_of(spec.profiles.begin(), spec.profiles.end(),
                                             [&](const ShapeRange& range) { return fits(range, shape); })) {
    fail(Kind::InvalidInput, "input '", spec.name, "' has shape ", format_shape(shape), "; the engine takes ",
         describe_profiles(spec));
  }
}

bool need_one_profile(const std::vector<TensorSpec>& specs) {
  return std::count_if(specs.begin(), specs.end(), [](const TensorSpec& spec) { return spec.profiles.size() > 1; }) > 1;
}

namespace {

/// Lists the inputs that have bounded shapes, each with the text from `of`.
template <typename Of>
std::string list_bounded(const std::vector<TensorSpec>& specs, const char* between, const Of& of) {
  std::string text;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].profiles.empty()) text += c10::str(text.empty() ? "" : between, "'", specs[i].name, "' ", of(i));
  }
  return text;
}

}  // namespace

void check_profiles(const std::vector<TensorSpec>& specs, const std::vector<c10::IntArrayRef>& shapes) {
  size_t profiles = 0;
  for (const auto& spec : specs) profiles = std::max(profiles, spec.profiles.size());
  const auto fits_profile = [&](size_t index, size_t i) {
    return index >= specs[i].profiles.size() || !specs[i].shape || fits(specs[i].profiles[index], shapes[i]);
  };
  for (size_t index = 0; index < profiles; ++index) {
    size_t fitting = 0;
    while (fitting < specs.size() && fits_profile(index, fitting)) ++fitting;
    if (fitting == specs.size()) return;
  }
  if (profiles == 0) return;
  std::string taken;
  for (size_t index = 0; index < profiles; ++index) {
    taken += index == 0 ? "" : "; or ";
    taken += list_bounded(specs, " with ", [&](size_t i) {
      if (index >= specs[i].profiles.size()) return std::string("of any shape");
      const auto& range = specs[i].profiles[index];
      return c10::str("from ", format_shape(range.min), " to ", format_shape(range.max));
    });
  }
  fail(Kind::InvalidInput, "no profile of the engine takes these inputs together: ",
       list_bounded(specs, ", ", [&](size_t i) { return format_shape(shapes[i]); }), "; its profiles take ", taken);
}

}  // namespace trtserve
