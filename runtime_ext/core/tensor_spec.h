#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <c10/core/ScalarType.h>
#include <c10/util/ArrayRef.h>

namespace trtserve {

/// The shapes that one profile takes for one input; one entry a dimension. In `max`, -1: no bound.
struct ShapeRange {
  std::vector<int64_t> min;
  std::vector<int64_t> opt;
  std::vector<int64_t> max;
};

/// A named input or output of an engine.
struct TensorSpec {
  std::string name;
  c10::ScalarType dtype;
  /// -1 for a dynamic dimension; nothing where even the rank is unknown.
  std::optional<std::vector<int64_t>> shape;
  /// The shapes of each profile; empty where the backend knows no bounds.
  std::vector<ShapeRange> profiles = {};
  /// The values that each profile takes for an input whose values decide shapes; else empty.
  std::vector<ShapeRange> values = {};
  /// Where the engine reads or writes it: on its device, or on the host.
  bool on_host = false;
  /// How it lies in memory, in the backend's words; empty where there is nothing to say.
  std::string format = {};
  /// The datatype that the backend computes with in place of `dtype`; nothing where it does not tell, or keeps it.
  std::optional<c10::ScalarType> computed_as = std::nullopt;
};

/// A datatype that an engine may use, by its name in the Open Inference Protocol (version 2,
/// "Tensor Data Types"), for example FP32.
struct Datatype {
  std::string_view name;
  c10::ScalarType dtype;
};

c10::ArrayRef<Datatype> datatypes();

/// The protocol's name of `dtype`; torch's own name where the protocol has none.
std::string datatype_name(c10::ScalarType dtype);

/// Nothing where no engine can use a datatype of that name.
std::optional<c10::ScalarType> parse_datatype(std::string_view name);

/// "[1, ?, 28]": a dynamic dimension prints as "?".
std::string format_shape(c10::IntArrayRef shape);

/// Throws InvalidInput unless every name is UTF-8 and is there once: requests tell tensors by their names.
void check_names(const std::vector<TensorSpec>& specs);

/// Throws InvalidInput, naming the tensor, what came and what is allowed, unless a tensor of this dtype
/// and shape can be the input `spec` under one of its profiles.
void check_input(const TensorSpec& spec, c10::ScalarType dtype, c10::IntArrayRef shape);

/// Throws InvalidInput, naming the inputs, their shapes and the profiles, unless one profile takes all of them: each
/// may fit a profile by itself, and no one of them all. `shapes` are one a spec, and have passed check_input().
void check_profiles(const std::vector<TensorSpec>& specs, const std::vector<c10::IntArrayRef>& shapes);

/// Whether check_profiles() can fail where every check_input() has passed.
bool need_one_profile(const std::vector<TensorSpec>& specs);

}  // namespace trtserve
