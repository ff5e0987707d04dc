#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace trtserve::openvino {

/// The domains of operators that a file or a function imports, with their versions.
using Opsets = std::map<std::string, int64_t>;

/// Checks that a checked ModelProto is whole, as far as that can be told: all that a node takes or a graph gives is
/// produced before, once; each node's domain of operators is imported. Subgraphs and functions too. Takes time in
/// proportion to the file. InvalidInput for what is not whole; Unsupported where a node calls a function of the file.
void check_graph(std::string_view model, const Opsets& opsets, int64_t ir_version);

}  // namespace trtserve::openvino
