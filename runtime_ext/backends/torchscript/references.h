#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// The engines that a graph calls.
struct References {
  std::set<int64_t> ids;
  std::set<std::string> names;  ///< those of trt::engine
};

/// Finds the engines that a frozen graph calls, and propagates constants to the calls. InvalidInput for one that is not
/// a constant.
References find_references(const std::shared_ptr<torch::jit::Graph>& graph);

/// Replaces calls of trt::engine with the IDs of `engines`. InvalidInput for a name that is not there.
void resolve_names(const std::shared_ptr<torch::jit::Graph>& graph, const std::map<std::string, int64_t>& engines);

}  // namespace trtserve::torchscript
