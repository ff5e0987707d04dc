#pragma once

// The options that a plan is built with. To add one, add a member and its line in fields().

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor_spec.h"

namespace trtserve {

/// What a profile of the plan accepts, by input: its shapes or, for an input that decides shapes, its values.
using BuildProfile = std::map<std::string, ShapeRange>;

struct BuildOptions {
  std::string device = "auto";         ///< auto, cuda or cuda:N: the plan is built for this device
  std::string precision = "auto";      ///< auto, f32, f16, bf16, int8 or fp8; what the backend supports of it
  std::vector<BuildProfile> profiles;  ///< empty: one from max_batch_size, where dimension 0 alone is dynamic
  int64_t max_batch_size = 1;          ///< used only if there are no profiles
  int64_t workspace_bytes = 0;         ///< the most scratch memory of a layer; 0: the backend's default
  std::string timing_cache;            ///< a file that is read if it exists, and written after a build; empty: none

  /// Calls `field(name, member)` for each option except `profiles`, which Python gives in another form.
  template <typename Field>
  static void fields(Field field) {
    field("device", &BuildOptions::device);
    field("precision", &BuildOptions::precision);
    field("max_batch_size", &BuildOptions::max_batch_size);
    field("workspace_bytes", &BuildOptions::workspace_bytes);
    field("timing_cache", &BuildOptions::timing_cache);
  }
};

}  // namespace trtserve
