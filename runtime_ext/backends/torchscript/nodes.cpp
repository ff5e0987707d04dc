#include "backends/torchscript/nodes.h"

namespace trtserve::torchscript {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;

namespace {

void visit_block(Block& block, const std::function<void(Node&)>& visit) {
  for (auto it = block.nodes().begin(); it != block.nodes().end();) {
    Node& node = **it;
    ++it;  // before the visit, which may destroy the node
    for (auto* inner : node.blocks()) visit_block(*inner, visit);
    if (const auto graph = forked(node)) for_each_node(*graph, visit);
    visit(node);
  }
}

}  // namespace

void for_each_node(Graph& graph, const std::function<void(Node&)>& visit) { visit_block(*graph.block(), visit); }

void for_each_graph(Graph& graph, const std::function<void(Graph&)>& visit) {
  visit(graph);
  std::vector<std::shared_ptr<Graph>> inner;
  for_each_node(graph, [&](Node& node) {
    if (auto found = forked(node)) inner.push_back(std::move(found));
  });
  for (const auto& found : inner) visit(*found);
}

std::shared_ptr<Graph> forked(const Node& node) {
  if (!node.hasAttribute(c10::attr::Subgraph)) return nullptr;
  if (node.kindOf(c10::attr::Subgraph) != torch::jit::AttributeKind::g) return nullptr;
  return node.g(c10::attr::Subgraph);
}

}  // namespace trtserve::torchscript
