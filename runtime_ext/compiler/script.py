"""Writes a graph, in which one part is an engine, as TorchScript."""

import keyword
import math
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from runtime_ext.compiler.onnx_operators import branches, is_getitem
from runtime_ext.compiler.part import Part
from runtime_ext.compiler.program import CompileError, is_number, operator_name

INFIX = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.floordiv: "//",
    operator.truediv: "/",
    operator.mod: "%",
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
}
NAMES = {"self", "torch"}
"""Names that the source uses itself."""

OPTIONAL_TENSORS = "List[Optional[Tensor]]"


def as_script(graph: GraphModule, part: Part, engine: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Return the graph as a module that calls `engine` for the part. CompileError for a node that TorchScript
    cannot have."""
    return _Writer(graph, part).module(engine)


class _Writer:
    """Writes the source of one module."""

    def __init__(self, graph: GraphModule, part: Part) -> None:
        self._graph = graph
        self._part = part
        self._members = set(part.nodes)
        self._names: dict[Node, str] = {}
        self._tensors: dict[str, torch.Tensor] = {}  # attributes of the module

    def module(self, engine: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
        source = self.source()
        holder = torch.nn.Module()
        for name, tensor in self._tensors.items():
            holder.register_buffer(name, tensor)
        holder.add_module("engine", engine)
        scripted: torch.jit.ScriptModule = torch.jit.script(holder)
        try:
            scripted.define(source)
        except RuntimeError as failure:
            raise CompileError(f"what is left in torch is no TorchScript:\n{failure}\n{source}") from failure
        return scripted

    def source(self) -> str:
        arguments = [self._name(node) for node in self._graph.graph.nodes if node.op == "placeholder"]
        lines = [f"def forward({', '.join(['self', *arguments])}):"]
        lines += [f"    {line}" for node in self._ordered() for line in self._lines(node)]
        return "\n".join([*lines, ""])

    def _ordered(self) -> Iterator[Node | Part]:
        """Yield what does not depend on the part, then the part, then the rest."""
        depends: set[Node] = set(self._members)
        rest = [node for node in self._graph.graph.nodes if node not in self._members]
        for node in rest:
            if any(given in depends for given in node.all_input_nodes):
                depends.add(node)
        yield from (node for node in rest if node not in depends)
        yield self._part
        yield from (node for node in rest if node in depends)

    def _lines(self, node: Node | Part) -> Iterator[str]:
        if isinstance(node, Part):
            given = ", ".join(map(self._name, node.inputs))
            results = ", ".join(map(self._name, node.outputs))
            yield f"{results} = self.engine({given})"
        elif node.op == "get_attr":
            yield from self._attribute(node)
        elif node.op == "call_function":
            yield f"{self._name(node)} = {self._call(node)}"
        elif node.op == "output":
            yield f"return {self._results(node.args[0])}"
        elif node.op != "placeholder":
            raise CompileError(f"node {node.name} ({node.op}) cannot be a part of a compiled module")

    def _attribute(self, node: Node) -> Iterator[str]:
        if all(user in self._members for user in node.users):
            return  # it is in the engine
        value = self._graph
        for step in str(node.target).split("."):
            value = getattr(value, step)
        if isinstance(value, GraphModule):
            return  # a side of a branch
        if not isinstance(value, torch.Tensor):
            raise CompileError(f"node {node.name} is an attribute, not a tensor: {type(value).__name__}")
        name = f"tensor{len(self._tensors)}"
        self._tensors[name] = value.detach()
        yield f"{self._name(node)} = self.{name}"

    def _results(self, results: Any) -> str:
        nodes = list(results) if isinstance(results, tuple | list) else [results]
        if not nodes or not all(isinstance(each, Node) and not is_number(each) for each in nodes):
            raise CompileError(f"the model returns {results}: return a tensor, or a tuple of tensors")
        names = [self._name(each) for each in nodes]
        return names[0] if len(names) == 1 else f"({', '.join(names)})"

    def _call(self, node: Node) -> str:
        target: Any = node.target
        if is_getitem(node):
            return f"{self._value(node.args[0])}[{node.args[1]}]"
        if target in INFIX:
            return f"{self._value(node.args[0])} {INFIX[target]} {self._value(node.args[1])}"
        if branches(node):
            raise CompileError(
                f"node {node.name} is a branch that depends on data, and no engine can have it: one of its "
                "sides has what ONNX lacks. Compile the models around it alone"
            )
        if not isinstance(target, torch._ops.OpOverload):
            raise CompileError(
                f"node {node.name} calls {operator_name(node)}, which has no place in "
                "TorchScript: take it out of the model"
            )
        if operator_name(node) in {"aten::sym_size.int", "aten::sym_size"}:
            return f"{self._value(node.args[0])}.size({self._value(node.args[1])})"
        called = f"torch.ops.{target.namespace}.{target._schema.name.split('::')[1]}({self._arguments(node)})"
        if operator_name(node) in {"aten::item", "aten::_local_scalar_dense"}:
            called = f"{self._value(node.args[0])}.item()"
        return self._as_number(node, called)

    @staticmethod
    def _as_number(node: Node, called: str) -> str:
        """A scalar of TorchScript becomes a number: its type is what the trace knows."""
        value = node.meta.get("val")
        if isinstance(value, int | torch.SymInt) and not isinstance(value, bool):
            return f"int({called})"
        return f"float({called})" if isinstance(value, float | torch.SymFloat) else called

    def _arguments(self, node: Node) -> str:
        target: Any = node.target
        schema: Any = target._schema.arguments
        kinds = {argument.name: argument.type for argument in schema}
        positional = [self._value(each, schema[index].type) for index, each in enumerate(node.args)]
        named = [f"{key}={self._value(each, kinds[key])}" for key, each in node.kwargs.items()]
        return ", ".join([*positional, *named])

    def _value(self, value: Any, kind: Any = None) -> str:
        if isinstance(value, Node):
            return self._name(value)
        if isinstance(value, list | tuple):
            listed = f"[{', '.join(self._value(each) for each in value)}]"
            optional = kind is not None and "Optional[Tensor]" in str(kind.annotation_str)
            return f"torch.jit.annotate({OPTIONAL_TENSORS}, {listed})" if optional else listed
        if isinstance(value, torch.device):
            return f"torch.device({str(value)!r})"
        if isinstance(value, float) and not math.isfinite(value):
            return f"float({str(value)!r})"
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value)
        if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
            return str(value)
        raise CompileError(f"an argument of the type {type(value).__name__} has no place in TorchScript")

    def _name(self, node: Node) -> str:
        if node not in self._names:
            taken = keyword.iskeyword(node.name) or node.name in NAMES
            self._names[node] = f"{node.name}__" if taken else node.name
        return self._names[node]
