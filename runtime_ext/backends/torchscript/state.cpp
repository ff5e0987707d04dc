#include "backends/torchscript/state.h"

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/inline_fork_wait.h>

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

std::shared_ptr<Graph> without_forks(Graph& graph);

/// torch's pass does not look into the graph of a fork, and fails on a fork in it. So inner ones go first, in copies:
/// the graphs of forks belong to the module.
void replace_forked_graphs(torch::jit::Block& block) {
  for (auto* node : block.nodes()) {
    for (auto* inner : node->blocks()) replace_forked_graphs(*inner);
    if (node->kind() == c10::prim::fork) node->g_(c10::attr::Subgraph, without_forks(*forked(*node)));
  }
}

/// A copy of the graph with the tasks of its forks in their places: only so does the analysis know what they write to.
/// Of a fork whose future goes astray, it assumes the worst.
std::shared_ptr<Graph> without_forks(Graph& graph) {
  auto whole = graph.copy();
  replace_forked_graphs(*whole->block());
  torch::jit::InlineForkWait(whole);
  return whole;
}

}  // namespace

std::vector<bool> check_state(Graph& graph) {
  const auto whole = without_forks(graph);
  const AliasDb aliases(whole, /*isFrozen=*/true);
  for_each_node(*whole, [&](const Node& node) {
    if (node.kind() == c10::prim::SetAttr && node.input(0)->node()->kind() != c10::prim::CreateObject) {
      refuse("sets the attribute " + node.s(c10::attr::name));
    }
    if (!is_shared(node)) return;
    for (const auto* output : node.outputs()) {
      if (!aliases.hasWriters(output)) continue;
      if (node.kind() == c10::prim::GetAttr) refuse("changes its attribute " + node.s(c10::attr::name));
      refuse("changes a tensor or a list that is one of its constants");
    }
  });
  std::vector<bool> written;
  for (size_t i = 1; i < whole->inputs().size(); ++i) written.push_back(aliases.hasWriters(whole->inputs()[i]));
  return written;
}

}  // namespace trtserve::torchscript
