#include "backends/torchscript/program.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "backends/torchscript/archive.h"
#include "backends/torchscript/failure.h"
#include "backends/torchscript/nodes.h"
#include "backends/torchscript/state.h"
#include "core/error.h"
#include "core/graph_run.h"

namespace trtserve::torchscript {

using torch::jit::Graph;
using torch::jit::Node;

namespace {

// In each loop, so that an execution that nobody wants ends: the interpreter itself cannot be stopped.
const torch::jit::RegisterOperators check_wanted({torch::jit::Operator(
    "trt::check_wanted() -> ()",
    [](torch::jit::Stack& /*stack*/) {
      if (const auto* run = GraphRun::current()) run->check_wanted();
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

torch::jit::Module frozen(torch::jit::Module module) {
  // First, because freezing takes away the methods of the modules inside.
  const auto graph = module.get_method("forward").graph();
  torch::jit::Inline(*graph);
  for_each_graph(*graph, [](Graph& inner) { torch::jit::Inline(inner); });
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
  Program program;
  program.writes = std::move(frozen.writes);
  program.code = torch::jit::Code(graph, "forward");
  program.module = std::move(frozen.module);
  program.tensors = std::move(frozen.tensors);
  program.engines.assign(references.ids.begin(), references.ids.end());
  count_constants(program, *graph);
  return program;
}

}  // namespace trtserve::torchscript
