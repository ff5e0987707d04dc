"""Writes small models for the openvino backend, as ONNX or as exported blobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper

Spec = tuple[int, Sequence[int | str] | None]
"""Element type and shape; a string is a dynamic dimension, None an unknown rank."""


def write_onnx(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, Spec],
    outputs: Mapping[str, Spec],
    initializers: list[TensorProto] | None = None,
    *,
    opset: int = 17,
) -> Path:
    """Write an ONNX file; inputs and outputs by name."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        initializers or [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def doubling(path: Path, element_type: int = TensorProto.FLOAT, shape: list[int | str] | None = None) -> Path:
    """Write a model of y = x + x."""
    shape = ["batch", 4] if shape is None else shape
    add = helper.make_node("Add", ["x", "x"], ["y"])
    return write_onnx(path, [add], {"x": (element_type, shape)}, {"y": (element_type, shape)})


def scaling(path: Path, factor: float) -> Path:
    """Write a model of y = factor * x, for x: FP32 [?, 4]."""
    multiply = helper.make_node("Mul", ["x", "factor"], ["y"])
    spec: Spec = (TensorProto.FLOAT, ["batch", 4])
    constant = numpy_helper.from_array(np.asarray(factor, np.float32), "factor")
    return write_onnx(path, [multiply], {"x": spec}, {"y": spec}, [constant])


def as_blob(onnx_file: Path, path: Path) -> Path:
    """Compile an ONNX file with OpenVINO, and write the exported blob."""
    exported = openvino.Core().compile_model(str(onnx_file), "CPU").export_model()
    path.write_bytes(exported if isinstance(exported, bytes) else exported.getvalue())
    return path


def slow(path: Path, layers: int = 60, width: int = 512) -> Path:
    """Write a model of y = x with many matrix products by the identity: takes hundreds of ms for a large
    batch."""
    identity = numpy_helper.from_array(np.eye(width, dtype=np.float32), "identity")
    names = ["x", *(f"h{i}" for i in range(layers - 1)), "y"]
    nodes = [
        node
        for i in range(layers)
        for node in (
            helper.make_node("MatMul", [names[i], "identity"], [f"m{i}"]),
            # An operation between the products, so that no optimization merges them.
            helper.make_node("Relu", [f"m{i}"], [names[i + 1]]),
        )
    ]
    spec: Spec = (TensorProto.FLOAT, ["batch", width])
    return write_onnx(path, nodes, {"x": spec}, {"y": spec}, [identity])
