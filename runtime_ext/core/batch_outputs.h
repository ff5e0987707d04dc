#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/batch_rules.h"
#include "core/request_queue.h"

namespace trtserve {

/// The names of an engine's outputs, shared by all completions.
using OutputNames = std::shared_ptr<const std::vector<std::string>>;

/// Returns a sentence that says why the outputs cannot be divided among the requests, or nothing if they can.
std::optional<std::string> why_undivided(const Part& part, const std::vector<at::Tensor>& outputs,
                                         const BatchRules& rules, const std::vector<std::string>& names);

/// Divides the outputs, which are contiguous and on the host, into views for each request. Does not copy if the batch
/// dimension is 0 or a request ran alone.
std::vector<Completion> divide(const Part& part, std::vector<at::Tensor> outputs, const BatchRules& rules,
                               const OutputNames& names);

}  // namespace trtserve
