"""Finds the largest part of a graph that can be an engine."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols

from runtime_ext.compiler.onnx_operators import is_converted, is_getitem
from runtime_ext.compiler.program import is_number
from runtime_ext.operators import DTYPES


@dataclass(frozen=True)
class Part:
    """Some nodes of a graph that become an engine: no path leaves it and comes back."""

    nodes: tuple[Node, ...]  # in the graph's order
    inputs: tuple[Node, ...]  # tensors from outside
    outputs: tuple[Node, ...]  # tensors that are used outside


def largest_part(graph: GraphModule, refused: frozenset[str] = frozenset()) -> Part | None:
    """Return the part with the most weights or, among equals, operators; None if there is none. Nodes whose
    names are `refused` are in none.

    A node's level is how many nodes that are not converted come one after the other before it. No path leaves
    the convertible nodes of one level and comes back, since it would pass such a node. Nor does one if nodes
    of lower levels join them whose results are used only there.
    """
    convertible = _convertible(graph, refused)
    levels: dict[Node, int] = {}
    by_level: dict[int, set[Node]] = {}
    for node in graph.graph.nodes:
        least = max((levels[given] for given in node.all_input_nodes), default=0)
        joins = node in convertible or node.op in {"placeholder", "get_attr"}
        levels[node] = least if joins else least + 1
        if node in convertible:
            by_level.setdefault(least, set()).add(node)
    parts = [_part(graph, _extended(graph, members, convertible)) for members in by_level.values()]
    possible = [part for part in parts if any(map(_is_work, part.nodes)) and part.outputs]
    return max(possible, key=_size, default=None)


def _convertible(graph: GraphModule, refused: frozenset[str]) -> set[Node]:
    """The nodes whose operator is converted to ONNX, and whose tensors an engine can have."""
    found: set[Node] = set()
    for node in graph.graph.nodes:
        if node.op != "call_function" or node.name in refused:
            continue
        if is_getitem(node):
            known = node.args[0] in found
        else:
            numbers = [given for given in node.all_input_nodes if is_number(given)]
            known = is_converted(node) and all(given in found for given in numbers)
        if known and all(map(_can_be_in_engine, _values(node))):
            found.add(node)
    return found


def _values(node: Node) -> list[Any]:
    values = node.meta.get("val")
    return list(values) if isinstance(values, tuple | list) else [values]


def _can_be_in_engine(value: Any) -> bool:
    """False for a size that depends on data: what it decides is left to torch."""
    if not isinstance(value, torch.Tensor):
        return isinstance(value, int | torch.SymInt) and not free_unbacked_symbols(value)
    return value.dtype in DTYPES.values() and not free_unbacked_symbols(value)


def _extended(graph: GraphModule, members: set[Node], convertible: set[Node]) -> set[Node]:
    """Add the nodes whose results are used only here, and take away numbers that are used elsewhere."""
    extended = {node for node in members if not is_number(node)}
    for node in reversed(graph.graph.nodes):
        if node in convertible and node.users and all(user in extended for user in node.users):
            extended.add(node)
    return extended


def _is_work(node: Node) -> bool:
    return not is_number(node) and not is_getitem(node)


def _size(part: Part) -> tuple[int, int]:
    weights = {
        given: given.meta["val"].numel() if "val" in given.meta else 0
        for node in part.nodes
        for given in node.all_input_nodes
        if given.op == "get_attr"
    }
    return sum(weights.values()), sum(map(_is_work, part.nodes))


def _part(graph: GraphModule, members: set[Node]) -> Part:
    nodes = tuple(node for node in graph.graph.nodes if node in members)
    needed = dict.fromkeys(given for node in nodes for given in node.all_input_nodes)
    inputs = tuple(node for node in needed if node not in members and node.op != "get_attr")
    outputs = tuple(node for node in nodes if any(user not in members for user in node.users))
    return Part(nodes, inputs, outputs)


def alone(graph: GraphModule, part: Part) -> GraphModule:
    """Return a part as a graph of its own: a function from its inputs to a tuple of its outputs."""
    copied: dict[Node, Node] = {}
    own = Graph()
    for node in part.inputs:
        copied[node] = own.placeholder(node.name)
    for node in part.nodes:
        for given in node.all_input_nodes:
            if given.op == "get_attr" and given not in copied:
                copied[given] = own.node_copy(given)
        copied[node] = own.node_copy(node, copied.__getitem__)
    own.output(tuple(copied[node] for node in part.outputs))
    return GraphModule(graph, own)
