// Registers all operators of trtserve.

#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/library.h>

#include "ops/decode_jpeg.h"
#include "ops/execute_engine.h"
#include "ops/plan_engine.h"
#include "ops/remembering_errors.h"

namespace {

// Variadic, so only TorchScript's own registry can hold it. Its result depends on the resident engines, so no compiler
// pass may merge, move or drop a call.
const torch::jit::RegisterOperators variadic({torch::jit::Operator(
    "trt::execute_engine(int id, ...) -> ...", [](torch::jit::Stack& stack) { trtserve::execute_engine(stack); },
    c10::AliasAnalysisKind::CONSERVATIVE)});

at::Tensor decode(const at::Tensor& data, int64_t channels) {
  return trtserve::remembering_errors([&] { return trtserve::decode_jpeg(data, channels); });
}

int64_t engine(c10::string_view name) { return trtserve::engine_named(std::string(name)); }

}  // namespace

// A typed variant for code that must type-check or serialize: eager code, scripted and loaded modules, torch.export. It
// has its own name, because the script compiler would prefer the variadic one where both fit.
TORCH_LIBRARY(trt, library) {
  library.class_<trtserve::PlanEngine>("Engine")
      .def("id", [](const c10::intrusive_ptr<trtserve::PlanEngine>& self) { return self->id(); })
      .def_pickle([](const c10::intrusive_ptr<trtserve::PlanEngine>& self) { return self->state(); },
                  [](const trtserve::PlanEngineState& state) { return trtserve::PlanEngine::from_state(state); });
  // No pass may run, merge or move a call: a module whose inputs are constants would run its engine while it is loaded.
  library.def(
      torch::schema("execute_engine_list(int id, Tensor[] inputs) -> Tensor[]", c10::AliasAnalysisKind::CONSERVATIVE),
      {at::Tag::pt2_compliant_tag});
  // Conservative: which engine has the name may change, so no pass may run it ahead.
  library.def(torch::schema("engine(str name) -> int", c10::AliasAnalysisKind::CONSERVATIVE));
  library.def("decode_jpeg(Tensor data, int channels=3) -> Tensor");
}

TORCH_LIBRARY_IMPL(trt, CompositeExplicitAutograd, library) {
  library.impl("execute_engine_list", &trtserve::execute_engine_list);
  library.impl("engine", &engine);
  library.impl("decode_jpeg", &decode);
}
