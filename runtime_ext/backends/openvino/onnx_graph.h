#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace trtserve::openvino {

/// The domains of operators that a file or a function imports, with their versions.
using Opsets = std::map<std::string, int64_t>;

/// Checks that a ModelProto, which has passed check_messages(), is complete: every input of a node and output of a
/// graph is produced earlier, exactly once, and every node's domain is imported. Covers subgraphs and functions. Takes
/// time linear in the file's size. InvalidInput for an incomplete file; Unsupported if a node calls a function of the
/// file.
void check_graph(std::string_view model, const Opsets& opsets, int64_t ir_version);

}  // namespace trtserve::openvino
