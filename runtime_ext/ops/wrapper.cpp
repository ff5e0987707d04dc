#include "ops/wrapper.h"

#include <cctype>
#include <set>

#include <c10/core/InferenceMode.h>
#include <c10/util/ScopeExit.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "core/graph_run.h"

namespace trtserve {

namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

/// Converts an engine's or tensor's name, which may contain anything, to a TorchScript identifier.
std::string identifier(const std::string& name) {
  std::string text;
  for (const char c : name) text += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) != 0) text.insert(text.begin(), '_');
  return text;
}

Module make_module(const Engine& engine) {
  const auto name = engine.name().empty() ? c10::str("engine_", engine.id()) : identifier(engine.name());
  return Module(c10::QualifiedName(c10::str("__torch__.", name, "_trt")),
                std::make_shared<torch::jit::CompilationUnit>());
}

/// The beginning of a graph: self, the engine's ID and its inputs.
struct Prologue {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  Value* id = nullptr;
  std::vector<Value*> inputs;
};

Prologue begin_graph(const Module& module) {
  Prologue prologue;
  prologue.graph->addInput("self")->setType(module.type());
  return prologue;
}

void add_inputs(Prologue& prologue, const Engine& engine) {
  std::set<std::string> used{"self"};
  for (const auto& spec : engine.inputs()) {
    auto argument = identifier(spec.name);
    while (!used.insert(argument).second) argument += '_';
    auto* input = prologue.graph->addInput();
    input->setType(c10::TensorType::get());
    input->setDebugName(argument);
    prologue.inputs.push_back(input);
  }
}

void register_outputs(Graph& graph, at::ArrayRef<Value*> outputs) {
  if (outputs.size() == 1) {
    graph.registerOutput(outputs[0]);
  } else {
    graph.registerOutput(graph.insertNode(graph.createTuple(outputs))->output());
  }
}

void define_forward(Module& module, const Prologue& prologue) {
  std::vector<c10::Argument> arguments{c10::Argument("self", module.type())};
  for (const auto* input : prologue.inputs) arguments.emplace_back(input->debugName(), input->type());
  auto* forward = module._ivalue()->compilation_unit()->create_function(
      c10::QualifiedName(*module.type()->name(), "forward"), prologue.graph);
  // There is nothing to optimize; and what profiles a graph asks tensors for sizes, which a tracer may not know.
  torch::jit::toGraphFunction(*forward)._set_initial_executor_execution_mode(torch::jit::SIMPLE);
  module.type()->addMethod(forward);
  const auto& result = prologue.graph->outputs().at(0)->type();
  forward->setSchema(c10::FunctionSchema("forward", "", arguments, {c10::Argument("", result)}));
}

/// Ends the graph with a call of the typed operator.
void define_typed_forward(Module& module, const Prologue& prologue, const Engine& engine) {
  auto& graph = *prologue.graph;
  auto* list = graph.insertNode(graph.createList(c10::TensorType::get(), prologue.inputs))->output();
  auto* call = graph.create(c10::Symbol::fromQualString("trt::execute_engine_list"), {prologue.id, list});
  call->output()->setType(c10::ListType::ofTensors());
  graph.insertNode(call);
  auto* unpack = graph.insertNode(graph.createListUnpack(call->output(), engine.outputs().size()));
  register_outputs(graph, unpack->outputs());
  define_forward(module, prologue);
}

}  // namespace

Module make_wrapper(const Engine& engine) {
  auto module = make_module(engine);
  auto prologue = begin_graph(module);
  auto& graph = *prologue.graph;
  prologue.id = graph.insertConstant(engine.id());
  add_inputs(prologue, engine);
  std::vector<Value*> arguments{prologue.id};
  arguments.insert(arguments.end(), prologue.inputs.begin(), prologue.inputs.end());
  Node* call = graph.create(c10::Symbol::fromQualString("trt::execute_engine"), arguments, engine.outputs().size());
  for (auto* output : call->outputs()) output->setType(c10::TensorType::get());
  graph.insertNode(call);
  register_outputs(graph, call->outputs());
  define_forward(module, prologue);
  return module;
}

Module make_typed_wrapper(const Engine& engine) {
  auto module = make_module(engine);
  auto prologue = begin_graph(module);
  prologue.id = prologue.graph->insertConstant(engine.id());
  add_inputs(prologue, engine);
  define_typed_forward(module, prologue, engine);
  return module;
}

Module make_carrying_wrapper(const Engine& engine, const c10::intrusive_ptr<PlanEngine>& carried) {
  // Where this package was not imported, torch's error shows the attribute's name: it says what is missing.
  constexpr auto kAttribute = "runtime_ext_engine";
  auto module = make_module(engine);
  c10::IValue object(carried);
  const auto type = object.type();
  module.register_attribute(kAttribute, type, std::move(object));
  auto prologue = begin_graph(module);
  auto& graph = *prologue.graph;
  auto* self = graph.inputs().at(0);
  auto* held = graph.insertNode(graph.createGetAttr(self, kAttribute))->output();
  auto* id = graph.insertNode(graph.create(c10::prim::CallMethod, {held}));
  id->s_(c10::attr::name, "id");
  prologue.id = id->output()->setType(c10::IntType::get());
  add_inputs(prologue, engine);
  define_typed_forward(module, prologue, engine);
  return module;
}

Forward make_forward(const Module& wrapper, const std::shared_ptr<Engine>& engine) {
  // Uses the interpreter directly: a graph executor would profile and specialize a graph that has nothing to optimize.
  const torch::jit::Code code(wrapper.get_method("forward").graph(), "forward");
  return [code, self = wrapper._ivalue(), engine](const std::vector<at::Tensor>& inputs,
                                                  std::shared_ptr<const MadeCalls>& calls) {
    const c10::InferenceMode inference;
    const auto run = std::make_shared<GraphRun>(GraphRun::Calls::CountedElsewhere, engine);
    const auto told = c10::make_scope_exit([&] { calls = run->take_calls(); });
    return with_errors_kept(run, [&] {
      torch::jit::Stack stack{self};
      stack.insert(stack.end(), inputs.begin(), inputs.end());
      torch::jit::InterpreterState(code).run(stack);
      auto result = torch::jit::pop(stack);
      if (result.isTensor()) return std::vector<at::Tensor>{std::move(result).toTensor()};
      std::vector<at::Tensor> outputs;
      for (const auto& element : result.toTupleRef().elements()) outputs.push_back(element.toTensor());
      return outputs;
    });
  };
}

}  // namespace trtserve
