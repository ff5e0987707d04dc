"""One-node ONNX models of every operator with valid inputs, from ONNX's own conformance suite."""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

TYPES = frozenset(
    [
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
    ]
)
UNSTABLE = ("Random", "Bernoulli", "Multinomial", "Dropout")
"""Operators whose answers differ by design."""


@dataclass(frozen=True)
class Seed:
    """A model, and valid inputs by name."""

    name: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]


def seeds(older: bool = False, per_operator: int = 10_000) -> Iterator[Seed]:
    """Yield the suite's tensor cases, with their own and with dynamic shapes; `older`: also in older
    opsets."""
    taken: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases()
    for case in cases:
        operators = {node.op_type for node in case.model.graph.node}
        if not case.data_sets or any(operator.startswith(UNSTABLE) for operator in operators):
            continue
        if case.name.endswith("_expanded") or "_expanded_" in case.name:
            continue  # an operator expanded into others, which have their own cases
        given = case.data_sets[0][0]
        if not all(isinstance(array, np.ndarray) and array.dtype.name in TYPES for array in given):
            continue
        inputs = {value.name: array for value, array in zip(case.model.graph.input, given, strict=False)}
        if not inputs:
            continue
        operator = case.model.graph.node[0].op_type
        taken[operator] += 1
        if taken[operator] > per_operator:
            continue
        for opset in _opsets(case.model, older):
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            model.opset_import[0].version = opset
            yield Seed(f"{case.name}@{opset}", model, inputs)
            dynamic = onnx.ModelProto()
            dynamic.CopyFrom(model)
            _free_shapes(dynamic)
            yield Seed(f"{case.name}@{opset} dynamic", dynamic, inputs)


def _opsets(model: onnx.ModelProto, older: bool) -> list[int]:
    """Return the model's opset, and with `older` every opset that redefined its operator."""
    own = model.opset_import[0].version
    if not older or model.opset_import[0].domain or len(model.graph.node) != 1:
        return [own]
    schemas = onnx.defs.get_all_schemas_with_history()
    operator = model.graph.node[0].op_type
    since = {
        s.since_version for s in schemas if s.name == operator and not s.domain and s.since_version < own
    }
    return [own, *sorted(max(7, version) for version in since)]


def _free_shapes(model: onnx.ModelProto) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        shape = value.type.tensor_type.shape
        for i, dim in enumerate(shape.dim):
            dim.Clear()
            dim.dim_param = f"{value.name}_{i}"
