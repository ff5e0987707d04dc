#include "backends/torchscript/state.h"

#include <algorithm>

#include <torch/csrc/jit/ir/alias_analysis.h>

#include "backends/torchscript/nodes.h"
#include "core/error.h"

namespace trtserve::torchscript {

using torch::jit::AliasDb;
using torch::jit::Graph;
using torch::jit::Node;

namespace {

[[noreturn]] void refuse(const std::string& what) {
  fail(Kind::InvalidInput, "the module ", what,
       ": what one request leaves behind could reach the next, so a module must not keep state. Compute a new tensor "
       "instead, or clone it before the change");
}

/// True for a node that yields what all executions share.
bool is_shared(const Node& node) { return node.kind() == c10::prim::GetAttr || node.kind() == c10::prim::Constant; }

/// Checks one graph, without those that it forks.
void check_shared(const std::shared_ptr<Graph>& graph) {
  const AliasDb aliases(graph, /*isFrozen=*/true);
  for_each_node(*graph, [&](Node& node) {
    if (node.owningGraph() != graph.get() || !is_shared(node)) return;
    for (const auto* output : node.outputs()) {
      if (!aliases.hasWriters(output)) continue;
      if (node.kind() == c10::prim::GetAttr) refuse("changes its attribute " + node.s(c10::attr::name));
      refuse("changes a tensor or a list that is one of its constants");
    }
  });
}

}  // namespace

void check_state(const std::shared_ptr<Graph>& graph) {
  if (AliasDb(graph, /*isFrozen=*/true).hasWriters(graph->inputs().at(0))) refuse("sets an attribute of itself");
  check_shared(graph);
  for_each_node(*graph, [](Node& node) {
    const auto inner = forked(node);
    if (!inner) return;
    // What a fork is given may be shared, whatever the outer graph says of it.
    const AliasDb aliases(inner, /*isFrozen=*/true);
    const auto inputs = inner->inputs();
    if (std::any_of(inputs.begin(), inputs.end(), [&](auto* input) { return aliases.hasWriters(input); })) {
      refuse("changes a value inside torch.jit.fork that comes from outside");
    }
    check_shared(inner);
  });
}

std::vector<bool> written_inputs(const std::shared_ptr<Graph>& graph) {
  const AliasDb aliases(graph, /*isFrozen=*/true);
  std::vector<bool> written;
  for (size_t i = 1; i < graph->inputs().size(); ++i) written.push_back(aliases.hasWriters(graph->inputs()[i]));
  return written;
}

}  // namespace trtserve::torchscript
