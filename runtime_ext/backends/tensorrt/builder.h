#pragma once

#include <string>
#include <vector>

#include <c10/core/Device.h>

#include "backends/tensorrt/library.h"
#include "core/build_options.h"
#include "core/build_progress.h"

namespace trtserve::tensorrt {

/// What a build needs beside the model and its options.
struct BuildPlace {
  const Library& library;
  const std::vector<std::string>& libraries;  ///< candidates for it, beside which the ONNX parser may lie
  const std::vector<std::string>& plugins;    ///< libraries of plugins that models may need
};

/// True if this backend was compiled with the builder, and its library and the ONNX parser can build. Opens the parser.
bool can_build(const BuildPlace& place);

/// See Backend::build. Called with `device` current.
void build_plan(const BuildPlace& place, at::Device device, const std::string& model, const std::string& plan,
                const BuildOptions& options, BuildProgress& progress);

/// Refuses options that no build can have, before the GPU is needed.
void check_build_options(const BuildOptions& options);

}  // namespace trtserve::tensorrt
