#include "backends/torchscript/program.h"

#include <map>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "backends/torchscript/archive.h"
#include "backends/torchscript/failure.h"
#include "backends/torchscript/forks.h"
#include "backends/torchscript/growth.h"
#include "backends/torchscript/nodes.h"
#include "backends/torchscript/state.h"
#include "core/error.h"
#include "core/graph_run.h"
#include "core/module_memory.h"

namespace trtserve::torchscript {

using torch::jit::Graph;
using torch::jit::Node;

namespace {

/// A few short functions that call one another twice would otherwise take all memory.
constexpr size_t kMostNodes = 100'000;

// In each loop, so that an execution ends that nobody wants, or that takes what others need: the interpreter itself
// cannot be stopped.
const torch::jit::RegisterOperators check_wanted({torch::jit::Operator(
    "trt::check_wanted() -> ()",
    [](torch::jit::Stack& /*stack*/) {
      if (const auto* run = GraphRun::current()) run->check_wanted();
      check_module_memory(0);
    },
    c10::AliasAnalysisKind::CONSERVATIVE)});

/// Takes out what has an effect outside the module and none on its outputs.
void drop_effects(Graph& graph) {
  for_each_node(graph, [](Node& node) {
    const auto kind = node.kind();
    // Gradients are off in every execution, and a warning of each request would fill the log.
    if (kind == c10::Symbol::fromQualString("aten::warn") ||
        kind == c10::Symbol::fromQualString("aten::set_grad_enabled")) {
      node.destroy();
    }
  });
}

void make_loops_stop(Graph& graph) {
  std::vector<Node*> loops;
  for_each_node(graph, [&](Node& node) {
    if (node.kind() == c10::prim::Loop) loops.push_back(&node);
  });
  for (auto* loop : loops) {
    auto* body = loop->blocks().at(0);
    auto* check = loop->owningGraph()->create(c10::Symbol::fromQualString("trt::check_wanted"), 0);
    body->prependNode(check);
  }
}

/// The graph of the function or the method that a node calls; null for another node.
std::shared_ptr<Graph> called(const Node& node) {
  torch::jit::Function* function = nullptr;
  if (node.kind() == c10::prim::CallMethod) {
    if (const auto type = node.input(0)->type()->cast<c10::ClassType>()) {
      function = type->findMethod(node.s(c10::attr::name));
    }
  } else if (node.kind() == c10::prim::CallFunction) {
    if (const auto type = node.input(0)->type()->cast<c10::FunctionType>()) function = type->function();
  }
  auto* scripted = function == nullptr ? nullptr : torch::jit::tryToGraphFunction(*function);
  return scripted == nullptr ? nullptr : scripted->graph();
}

size_t count_nodes(Graph& graph) {
  size_t nodes = 0;
  for_each_node(graph, [&](Node& /*node*/) { ++nodes; });
  return nodes;
}

/// Writes all calls out, also those of what is called: one pass of torch takes only the calls that it finds.
void inline_calls(Graph& graph) {
  for (;;) {
    size_t nodes = 0;
    bool calls = false;
    std::map<const Graph*, size_t> sizes;  // of the graphs that are called
    for_each_node(graph, [&](Node& node) {
      ++nodes;
      const auto inner = called(node);
      if (inner == nullptr) return;
      calls = true;
      const auto [size, is_new] = sizes.try_emplace(inner.get());
      if (is_new) size->second = count_nodes(*inner);
      nodes += size->second;
    });
    if (!calls) return;
    if (nodes > kMostNodes) {
      fail(Kind::InvalidInput, "the module has more than ", kMostNodes,
           " operations once its calls are written out, which is the most that is allowed: use loops");
    }
    for_each_graph(graph, [](Graph& inner) { torch::jit::Inline(inner); });
  }
}

torch::jit::Module frozen(torch::jit::Module module) {
  // First, because freezing takes away the methods of the modules inside.
  const auto graph = module.get_method("forward").graph();
  inline_calls(*graph);
  module.eval();
  auto done = torch::jit::freeze_module(module);
  drop_effects(*done.get_method("forward").graph());
  return done;
}

void count_constants(Program& program, Graph& graph) {
  const auto count = [&](const c10::IValue& value) {
    value.visit([&](const c10::IValue& inner) {
      if (inner.isTensor() && inner.toTensor().defined() && inner.toTensor().has_storage()) {
        const auto& storage = inner.toTensor().storage();
        if (program.shared.insert(storage.unsafeGetStorageImpl()).second) {
          program.bytes += static_cast<int64_t>(storage.nbytes());
        }
      }
      return false;
    });
  };
  count(program.module._ivalue());
  for_each_node(graph, [&](Node& node) {
    if (node.kind() != c10::prim::Constant) return;
    if (const auto value = torch::jit::toIValue(node.output())) count(*value);
  });
}

}  // namespace

Frozen freeze(const std::string& path, at::Device device, const std::string& tensors) {
  const auto archive = read_archive(path, device);
  const auto forward = archive.module.find_method("forward");
  if (!forward) fail(Kind::InvalidInput, "the module has no method forward");
  auto description = describe(tensors.empty() ? archive.description : tensors, forward->function().getSchema());
  try {
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    auto module = frozen(archive.module);
    const auto graph = module.get_method("forward").graph();
    auto references = find_references(graph);
    auto writes = check_state(*graph);
    return {std::move(module), std::move(description), std::move(references), std::move(writes)};
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception& error) {
    fail(Kind::InvalidInput, "torch cannot freeze the module: ", first_reason(error));
  }
}

Program make_program(Frozen frozen, const LoadOptions& options) {
  const auto graph = frozen.module.get_method("forward").graph();
  resolve_names(graph, options.engines);
  const auto references = find_references(graph);
  make_loops_stop(*graph);
  check_growth(*graph);
  Program program;
  program.forks_in_turn = tasks_may_race(*graph);
  program.writes = std::move(frozen.writes);
  program.code = torch::jit::Code(graph, "forward");
  program.module = std::move(frozen.module);
  program.tensors = std::move(frozen.tensors);
  program.engines.assign(references.ids.begin(), references.ids.end());
  count_constants(program, *graph);
  return program;
}

}  // namespace trtserve::torchscript
