#include "backends/torchscript/forks.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "backends/torchscript/nodes.h"

namespace trtserve::torchscript {

using torch::jit::Node;

namespace {

/// True if a value of the type is, or has in it, something that can be changed and is no tensor. Nothing changes a
/// module: see state.cpp.
bool is_changeable(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::ListType:
    case c10::TypeKind::DictType:
    case c10::TypeKind::AnyType:
    case c10::TypeKind::AnyListType:
    case c10::TypeKind::AnyTupleType:
    case c10::TypeKind::InterfaceType:
      return true;
    case c10::TypeKind::ClassType:
      return !type->is_module();
    default:
      const auto contained = type->containedTypes();
      return std::any_of(contained.begin(), contained.end(), is_changeable);
  }
}

/// True for an operator that gives a tensor that exists another shape or other memory: one that writes to its argument
/// `out` makes that as large as its result. Those of storages and sizes are refused in any module, see allowed.cpp.
bool reshapes(const Node& node) {
  static const std::set<std::string_view> kInPlace = {"as_strided_", "detach_", "rename_",    "squeeze_",  "swapaxes_",
                                                      "swapdims_",   "t_",      "transpose_", "unsqueeze_"};
  const auto* schema = node.maybeSchema();
  if (schema == nullptr || !node.kind().is_aten()) return false;
  const auto& arguments = schema->arguments();
  return kInPlace.count(node.kind().toUnqualString()) != 0 ||
         std::any_of(arguments.begin(), arguments.end(), [](const auto& argument) { return argument.is_out(); });
}

}  // namespace

bool tasks_may_race(torch::jit::Graph& graph) {
  bool forks = false;
  bool changes = false;
  for_each_node(graph, [&](Node& node) {
    changes = changes || reshapes(node);
    if (node.kind() != c10::prim::fork) return;
    forks = true;
    for (const auto* input : node.inputs()) changes = changes || is_changeable(input->type());
  });
  return forks && changes;
}

}  // namespace trtserve::torchscript
