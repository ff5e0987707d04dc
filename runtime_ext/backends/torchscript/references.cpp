#include "backends/torchscript/references.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>

#include "backends/torchscript/nodes.h"
#include "core/error.h"

namespace trtserve::torchscript {

using torch::jit::Graph;
using torch::jit::Node;

namespace {

bool is_call(const Node& node) { return node.kind() == c10::Symbol::fromQualString("trt::execute_engine_list"); }

bool is_name(const Node& node) { return node.kind() == c10::Symbol::fromQualString("trt::engine"); }

/// Makes the constants that forks take as inputs constants of the graphs that they run.
void pass_to_forks(Graph& graph) {
  for_each_graph(graph, [](Graph& outer) {
    for_each_node(outer, [](Node& node) {
      const auto inner = forked(node);
      if (!inner || inner->inputs().size() != node.inputs().size()) return;
      for (size_t i = 0; i < node.inputs().size(); ++i) {
        const auto value = torch::jit::toIValue(node.input(i));
        if (!value || !(value->isInt() || value->isString())) continue;
        const torch::jit::WithInsertPoint at_the_start(*inner->nodes().begin());
        inner->inputs()[i]->replaceAllUsesWith(inner->insertConstant(*value));
      }
    });
  });
}

void propagate(const std::shared_ptr<Graph>& graph) {
  auto outer = graph;
  torch::jit::ConstantPropagation(outer);
  pass_to_forks(*graph);
  for_each_node(*graph, [](Node& node) {
    if (auto inner = forked(node)) torch::jit::ConstantPropagation(inner);
  });
}

std::string constant_name(Node& node) {
  const auto name = torch::jit::toIValue(node.input(0));
  if (name && name->isString()) return name->toStringRef();
  fail(Kind::InvalidInput,
       "the module calls trt::engine with a name that is computed: it must be a constant, so that the server knows "
       "which engines the module uses");
}

}  // namespace

References find_references(const std::shared_ptr<Graph>& graph) {
  propagate(graph);
  References found;
  for_each_node(*graph, [&](Node& node) {
    if (is_name(node)) found.names.insert(constant_name(node));
    if (!is_call(node)) return;
    const auto id = torch::jit::toIValue(node.input(0));
    if (id && id->isInt()) {
      found.ids.insert(id->toInt());
    } else if (!is_name(*node.input(0)->node())) {
      fail(Kind::InvalidInput,
           "the module calls an engine whose ID is computed: it must be a constant, or trt::engine of a name that is "
           "one, so that the server knows which engines the module uses");
    }
  });
  return found;
}

void resolve_names(const std::shared_ptr<Graph>& graph, const std::map<std::string, int64_t>& engines) {
  for_each_node(*graph, [&](Node& node) {
    if (!is_name(node)) return;
    const auto name = constant_name(node);
    const auto found = engines.find(name);
    if (found == engines.end()) {
      fail(Kind::InvalidInput, "the module calls an engine named '", name, "', and no ID was given for it");
    }
    const torch::jit::WithInsertPoint before(&node);
    node.output()->replaceAllUsesWith(node.owningGraph()->insertConstant(found->second));
    node.destroy();
  });
}

}  // namespace trtserve::torchscript
