#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>
#include <c10/util/ArrayRef.h>

namespace trtserve {

/// The shapes that one profile accepts for one input; one entry per dimension. -1 in `max`: no bound.
struct ShapeRange {
  std::vector<int64_t> min;
  std::vector<int64_t> opt;
  std::vector<int64_t> max;
};

/// A named input or output of an engine.
struct TensorSpec {
  std::string name;
  c10::ScalarType dtype;
  /// -1 for a dynamic dimension; nothing if even the rank is unknown.
  std::optional<std::vector<int64_t>> shape;
  /// The shapes of each profile; empty if the backend knows no bounds.
  std::vector<ShapeRange> profiles = {};
  /// The values that each profile accepts, for an input whose values decide shapes; otherwise empty.
  std::vector<ShapeRange> values = {};
  /// True if the engine reads or writes it on the host instead of its device.
  bool on_host = false;
  /// True if it is BYTES whose elements are text in UTF-8.
  bool text = false;
  /// The memory layout, in the backend's words; may be empty.
  std::string format = {};
  /// The datatype that the backend computes with instead of `dtype`; nothing if it is the same or unknown.
  std::optional<c10::ScalarType> computed_as = std::nullopt;
};

/// A datatype of numbers that an engine may use, by its name in the Open Inference Protocol (version 2,
/// "Tensor Data Types"), for example FP32.
struct Datatype {
  std::string_view name;
  c10::ScalarType dtype;
};

c10::ArrayRef<Datatype> datatypes();

/// The protocol's name of `dtype`, BYTES for kBytes; torch's own name where the protocol has none.
std::string datatype_name(c10::ScalarType dtype);

/// The datatype of that protocol name; nothing if no engine can use it.
std::optional<c10::ScalarType> parse_datatype(std::string_view name);

/// "[1, ?, 28]": a dynamic dimension prints as "?".
std::string format_shape(c10::IntArrayRef shape);

/// Throws InvalidInput unless every name is UTF-8 and unique: requests identify tensors by name.
void check_names(const std::vector<TensorSpec>& specs);

/// Throws InvalidInput, naming the tensor, what came and what is allowed, unless a tensor of this dtype
/// and shape can be the input `spec` under one of its profiles.
void check_input(const TensorSpec& spec, c10::ScalarType dtype, c10::IntArrayRef shape);

/// Throws InvalidInput, naming the inputs, their shapes and the profiles, unless one profile accepts all of them
/// together: each may fit some profile, and yet no profile fits all. `shapes` has one entry per spec, each of which has
/// passed check_input().
void check_profiles(const std::vector<TensorSpec>& specs, const std::vector<c10::IntArrayRef>& shapes);

/// True if check_profiles() can fail although every check_input() has passed.
bool need_one_profile(const std::vector<TensorSpec>& specs);

}  // namespace trtserve
