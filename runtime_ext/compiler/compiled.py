"""Compiles a model, and checks the result against PyTorch."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch.fx import GraphModule, Interpreter, Node

from runtime_ext import BuildOptions
from runtime_ext.compiler.part import Part, alone, largest_part
from runtime_ext.compiler.plan import NodeRefused, write_onnx
from runtime_ext.compiler.program import (
    CompileError,
    DynamicShapes,
    Model,
    fixed_size,
    flat_graph,
    operator_name,
)
from runtime_ext.compiler.script import as_script
from runtime_ext.compiler.tensorrt import build_plan
from runtime_ext.in_process import load_engine, unload_engine, wrap
from runtime_ext.operators import DTYPES

BACKENDS = ("openvino", "tensorrt")
MOST_ITEMS = 16
"""Of a batch, where nothing else is said: as an upload that is built."""

TENSORS_FILE = "trtserve.json"
"""The file in an archive that describes the module's inputs and outputs."""


@dataclass(frozen=True)
class Compiled:
    """A compiled model."""

    module: torch.jit.ScriptModule  # carries the engine, and keeps it loaded
    engine: int  # its ID
    plan: bytes
    in_engine: list[str]  # operators, in the graph's order
    in_torch: list[str]
    largest_error: float  # between the results and PyTorch's
    tensors: str  # what describes the module's inputs and outputs
    _calling: torch.jit.ScriptModule  # calls the engine by its ID

    def save(self, path: str | PathLike[str]) -> None:
        """Write the module with the engine inside, for torch.jit.load in a program."""
        torch.jit.save(self.module, str(path), _extra_files={TENSORS_FILE: self.tensors})

    def save_parts(self, module: str | PathLike[str], plan: str | PathLike[str]) -> None:
        """Write the module, which calls the engine by its ID, and the plan, for a server."""
        Path(plan).write_bytes(self.plan)
        torch.jit.save(self._calling, str(module), _extra_files={TENSORS_FILE: self.tensors})


def compile(
    model: Model,
    inputs: Sequence[torch.Tensor],
    *,
    backend: str = "openvino",
    dynamic: DynamicShapes | None = None,
    tolerance: float = 1e-3,
    name: str = "",
    build: BuildOptions | None = None,
) -> Compiled:
    """Compile a model: its largest part that can be an engine becomes one, and torch keeps the rest.

    `backend` is what runs the engine: openvino, or tensorrt on the GPU of this machine. `build` says how the
    plan of tensorrt is built; without profiles in it, only the first dimension may be dynamic.

    `model` is a module in eval(), a TorchScript module or an ExportedProgram. `inputs` are examples, with a
    size of 2 or more in dynamic dimensions. `dynamic` are torch.export's dynamic_shapes of a module; an
    ExportedProgram has its own, and TorchScript finds them. The result is compared with the model on the
    examples and on others with the same values in another order, and may differ by `tolerance`, relative and
    absolute. Raises CompileError, which names the node, and Error for an engine that cannot be loaded.
    """
    if backend not in BACKENDS:
        raise CompileError(f"backend is {backend!r}; the compiler builds for {' and '.join(BACKENDS)}")
    if backend == "tensorrt":
        build = build or BuildOptions(max_batch_size=MOST_ITEMS)
    elif build is not None:
        raise CompileError(f"backend is {backend!r}, and `build` is for tensorrt, which alone builds plans")
    graph = flat_graph(model, inputs, dynamic)
    with tempfile.TemporaryDirectory() as folder:
        part, file = _convert(graph, inputs, Path(folder), build)
        engine = _loaded(file, name, build)
        try:
            carrying, calling = (wrap(engine, portable=portable) for portable in (True, False))
        finally:
            unload_engine(engine)
        module = as_script(graph, part, carrying)
        return Compiled(
            module=module,
            engine=engine,
            plan=file.read_bytes(),
            in_engine=[operator_name(node) for node in part.nodes if _is_operator(node)],
            in_torch=[
                operator_name(node)
                for node in graph.graph.nodes
                if _is_operator(node) and node not in part.nodes
            ],
            largest_error=_largest_error(graph, module, inputs, tolerance),
            tensors=_description(graph),
            _calling=as_script(graph, part, calling),
        )


def _is_operator(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload)


def _loaded(plan: Path, name: str, build: BuildOptions | None) -> int:
    if build is None:
        return load_engine(plan, name=name, backend="openvino")
    return load_engine(plan, name=name, device=build.device)  # its version of TensorRT decides the backend


def _convert(
    graph: GraphModule, inputs: Sequence[torch.Tensor], folder: Path, build: BuildOptions | None
) -> tuple[Part, Path]:
    """Write the plan of the largest part that is converted and, for TensorRT, built; a node that turns out
    not to be is left to torch."""
    model, plan = folder / "part.onnx", folder / "part.plan"
    recorder = _Recorder(graph)
    recorder.run(*inputs)
    refused: dict[str, str] = {}
    while True:
        part = largest_part(graph, frozenset(refused))
        if part is None:
            raise CompileError(f"no part of the model can be an engine: {_reasons(graph, refused)}")
        try:
            write_onnx(alone(graph, part), part, [recorder.values[node] for node in part.inputs], model)
            if build is None:
                return part, model
            build_plan(model, part, plan, build)
            return part, plan
        except NodeRefused as refusal:
            refused[refusal.node] = str(refusal)


def _reasons(graph: GraphModule, refused: dict[str, str]) -> str:
    if refused:
        return "; ".join(f"node {node}: {reason}" for node, reason in refused.items())
    left = (f"node {node.name} ({operator_name(node)})" for node in graph.graph.nodes if _is_operator(node))
    return f"{', '.join(left) or 'it has no operators'} cannot be converted to ONNX"


class _Recorder(Interpreter):
    """Runs a graph and keeps what each node gives."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.values: dict[Node, torch.Tensor] = {}

    def run_node(self, node: Node) -> object:
        value = super().run_node(node)
        if isinstance(value, torch.Tensor):
            self.values[node] = value.detach()
        return value


def _largest_error(
    graph: GraphModule, module: torch.jit.ScriptModule, inputs: Sequence[torch.Tensor], tolerance: float
) -> float:
    """Compare the results on the inputs, and on inputs with their values in another order."""
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for shuffled in (False, True, True):
        given = [_shuffled(each, generator) if shuffled else each for each in inputs]
        with torch.inference_mode():
            expected, got = (_flat(run(*given)) for run in (graph, module))
        for number, (wanted, result) in enumerate(zip(expected, got, strict=True)):
            try:
                torch.testing.assert_close(result, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
            except AssertionError as failure:
                raise CompileError(
                    f"output {number} of the compiled model is not that of PyTorch: {failure}"
                ) from failure
            if wanted.numel() and wanted.is_floating_point():
                largest = max(largest, float((result - wanted).abs().nan_to_num().max()))
    return largest


def _flat(results: object) -> list[torch.Tensor]:
    flat: list[torch.Tensor] = torch.utils._pytree.tree_leaves(results)
    return flat


def _shuffled(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.flatten()[order].reshape(tensor.shape)


def _description(graph: GraphModule) -> str:
    """The module's inputs and outputs, as a server reads them."""
    nodes = list(graph.graph.nodes)
    results = torch.utils._pytree.tree_leaves(nodes[-1].args)
    inputs = [_tensor(node.name, node) for node in nodes if node.op == "placeholder"]
    names = ["output"] if len(results) == 1 else [f"output{number}" for number in range(len(results))]
    outputs = [_tensor(name, node) for name, node in zip(names, results, strict=True)]
    return json.dumps({"inputs": inputs, "outputs": outputs})


def _tensor(name: str, node: Node) -> dict[str, object]:
    value = node.meta["val"]
    datatypes = {dtype: datatype for datatype, dtype in DTYPES.items()}
    if value.dtype not in datatypes:
        raise CompileError(f"node {node.name} is of {value.dtype}, which no request can carry")
    shape = [-1 if (size := fixed_size(each)) is None else size for each in value.shape]
    return {"name": name, "datatype": datatypes[value.dtype], "shape": shape}
