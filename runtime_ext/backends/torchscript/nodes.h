#pragma once

#include <functional>

#include <torch/csrc/jit/ir/ir.h>

namespace trtserve::torchscript {

/// Calls `visit` for each node of a graph, its blocks and the graphs that it forks; `visit` may destroy the node.
void for_each_node(torch::jit::Graph& graph, const std::function<void(torch::jit::Node&)>& visit);

/// Calls `visit` for the graph and each graph that it forks, at any depth, outer ones first.
void for_each_graph(torch::jit::Graph& graph, const std::function<void(torch::jit::Graph&)>& visit);

/// The graph that a node runs on another thread; null if it runs none.
std::shared_ptr<torch::jit::Graph> forked(const torch::jit::Node& node);

}  // namespace trtserve::torchscript
