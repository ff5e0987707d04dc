"""Writes a part as ONNX, which OpenVINO runs as it is and TensorRT makes a plan of."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.fx import GraphModule

from runtime_ext.compiler.onnx_operators import quiet
from runtime_ext.compiler.part import Part
from runtime_ext.compiler.program import CompileError, fixed_size


class NodeRefused(Exception):
    """A node that cannot be converted after all; str() is the reason."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(reason)
        self.node = node


def write_onnx(alone: GraphModule, part: Part, values: Sequence[torch.Tensor], path: Path) -> None:
    """Write the part as an ONNX file; `values` are examples of its inputs. Raises NodeRefused."""
    shapes = tuple(
        {
            dim: torch.export.Dim.DYNAMIC
            for dim, size in enumerate(node.meta["val"].shape)
            if fixed_size(size) is None
        }
        for node in part.inputs
    )
    try:
        with quiet():
            torch.onnx.export(
                alone,
                tuple(values),
                path,
                dynamo=True,
                external_data=False,
                input_names=[node.name for node in part.inputs],
                output_names=[node.name for node in part.outputs],
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as failure:
        _explain(failure, part)


def _explain(failure: BaseException, part: Part) -> None:
    """Raise NodeRefused for the node that the exporter's error names, otherwise CompileError."""
    names = {node.name for node in part.nodes}
    cause: BaseException | None = failure
    while cause is not None:
        for word in re.findall(r"%?(\w+)", str(cause)):
            if word in names:
                raise NodeRefused(word, _reason(cause)) from failure
        cause = cause.__cause__
    raise CompileError(f"the part cannot be converted to ONNX: {_reason(failure)}") from failure


def _reason(failure: BaseException) -> str:
    """The innermost cause, in a line."""
    while failure.__cause__ is not None:
        failure = failure.__cause__
    return " ".join(str(failure).split())[:500] or type(failure).__name__
