"""Makes a flat graph of a model: calls of ATen's operators, in their order."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from runtime_ext.compiler.onnx_operators import decompositions, quiet

Model = torch.nn.Module | ExportedProgram
DynamicShapes = dict[str, Any] | tuple[Any, ...] | list[Any]

MOST_TOLD = 3  # branches and loops of an error

CHECKS = {
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::_assert_async.msg",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
}
"""What torch.export adds to check its assumptions; nothing depends on their results."""


class CompileError(Exception):
    """What the compiler cannot do; the sentence names the node."""


def flat_graph(model: Model, inputs: Sequence[torch.Tensor], dynamic: DynamicShapes | None) -> GraphModule:
    """Return the model's graph, as a function of its tensors in their order. It has no state."""
    with quiet():
        program = _exported(model, tuple(inputs), dynamic).run_decompositions(decompositions())
    signature = program.graph_signature
    changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        raise CompileError(
            f"the model changes {', '.join(changed)}: a compiled one keeps no state. Switch it to eval(), or "
            "return the new value"
        )
    graph = program.module(check_guards=False)
    assert isinstance(graph, GraphModule)
    _drop_checks(graph)
    _own_sizes(graph)
    return graph


def _exported(
    model: Model, inputs: tuple[torch.Tensor, ...], dynamic: DynamicShapes | None
) -> ExportedProgram:
    if isinstance(model, ExportedProgram):
        return model
    try:
        if isinstance(model, torch.jit.ScriptModule):
            from torch._export.converter import TS2EPConverter

            return TS2EPConverter(model, inputs).convert()
        return torch.export.export(model, inputs, dynamic_shapes=dynamic, strict=False)
    except Exception as failure:
        told = next((line for line in str(failure).splitlines() if line.strip()), type(failure).__name__)
        where = _control_flow(model) if isinstance(model, torch.jit.ScriptModule) else ""
        raise CompileError(f"the model cannot be exported: {told}{where}") from failure


def _control_flow(model: torch.jit.ScriptModule) -> str:
    """What may be in the way of an export: the branches and loops that are left once constants are known."""
    try:
        graph = torch.jit.freeze(model.eval()).graph
    except RuntimeError:
        return ""
    found = [
        f"{kind}: {_source(node)}" for kind in ("prim::Loop", "prim::If") for node in graph.findAllNodes(kind)
    ]
    if not found:
        return ""
    return (
        f". The model has {'; '.join(found[:MOST_TOLD])}. A loop must have a constant number of turns, and "
        "both sides of a branch must return tensors of the same shapes: compile the models around it alone"
    )


def _source(node: Any) -> str:
    """The first line of the statement that a node of TorchScript comes from."""
    lines = str(node.sourceRange()).splitlines()
    marks = [number for number, line in enumerate(lines) if line.strip().startswith("~")]  # below each line
    return lines[marks[0] - 1].strip() if marks and marks[0] > 0 else "(no source)"


def _drop_checks(graph: GraphModule) -> None:
    for node in reversed(list(graph.graph.nodes)):
        if operator_name(node) in CHECKS:
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()


def _own_sizes(graph: GraphModule) -> None:
    """Give every node its own copy of the arithmetic that makes its sizes: then no number has to cross the
    border between the engine and torch."""
    for node in list(graph.graph.nodes):
        if not is_number(node):
            copy = partial(_copy_before, node)
            node.args = torch.fx.map_arg(node.args, copy)
            node.kwargs = torch.fx.map_arg(node.kwargs, copy)
    graph.graph.eliminate_dead_code()


def _copy_before(user: Node, node: Node) -> Node:
    if not is_number(node) or node.op != "call_function" or operator_name(node) == "aten::item":
        return node
    with user.graph.inserting_before(user):
        return user.graph.node_copy(node, lambda each: _copy_before(user, each))


def operator_name(node: Node) -> str:
    """Return "aten::add.Tensor", the name of a Python function, or what else a node is."""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target.name())  # type: ignore[no-untyped-call]
    return getattr(node.target, "__name__", str(node.target)) if node.op == "call_function" else node.op


def is_number(node: Node) -> bool:
    """True for a node that computes a size or another number, not a tensor."""
    return isinstance(node.meta.get("val"), int | float | torch.SymInt | torch.SymFloat | torch.SymBool)


def fixed_size(size: int | torch.SymInt) -> int | None:
    """Return a dimension's size; None if it is dynamic."""
    if isinstance(size, int):
        return size
    known: int | None = size.node.maybe_as_int()
    return known
