"""One ONNX model of the GPU tests: how its plan is built, what it is asked, and what it must answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

Values = dict[str, torch.Tensor]
"""Tensors on the CPU by name."""

Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""By input, the least, the best and the greatest shape; for an input whose values decide shapes, values."""

OPSET = 13  # every generation of the parser knows it
IR_VERSION = 8
PLUGIN_DOMAIN = (
    "TRT"  # the parser looks up a node's plugin by its type alone, and ONNX's checker skips the domain
)

ONNX_TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.int8: TensorProto.INT8,
    torch.uint8: TensorProto.UINT8,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
}


@dataclass(frozen=True)
class Tolerance:
    relative: float = 0.0
    absolute: float = 0.0


EXACT = Tolerance()
TF32 = Tolerance(1e-2, 2e-2)  # TensorRT multiplies float32 matrices as TF32
HALF = Tolerance(2e-2, 4e-2)


@dataclass(frozen=True)
class Model:
    """An ONNX model with its cases; `expected` computes the answer to a case on the CPU."""

    name: str
    onnx: onnx.ModelProto
    cases: tuple[Values, ...]
    expected: Callable[[Values], Values]
    profiles: tuple[Profile, ...] = ()
    precision: str = "auto"  # before TensorRT 11, which computes in the model's own types
    tolerance: Tolerance = EXACT
    since: int = 8  # the first major version of TensorRT that builds it, without cuBLAS
    last: int = 99
    needs_plugins: bool = False
    batched: bool = False  # the items of dimension 0 are independent
    in_any_order: bool = False  # the rows of its outputs

    def agrees(self, answer: Values, case: Values) -> None:
        """Assert that an answer to a case is right."""
        expected = self.expected(case)
        assert answer.keys() == expected.keys()
        for name, right in expected.items():
            self._agrees(name, answer[name].cpu(), right)

    def _agrees(self, name: str, found: torch.Tensor, right: torch.Tensor) -> None:
        what = f"{self.name}: output {name!r}"
        assert found.shape == right.shape, f"{what} has shape {list(found.shape)}, not {list(right.shape)}"
        narrowed = right.dtype == torch.int64 and found.dtype == torch.int32  # indices; all of TensorRT 8
        assert narrowed or found.dtype == right.dtype, f"{what} is {found.dtype}, not {right.dtype}"
        if self.in_any_order:
            found, right = sorted_rows(found), sorted_rows(right)
        if self.tolerance == EXACT:
            assert torch.equal(found, right.to(found.dtype)), f"{what} is {found}, not {right}"
            return
        rtol, atol = self.tolerance.relative, self.tolerance.absolute
        difference = (found.double() - right.double()).abs()
        assert torch.allclose(found.double(), right.double(), rtol, atol), (
            f"{what} is off by up to {difference.max()}"
        )


def sorted_rows(rows: torch.Tensor) -> torch.Tensor:
    return torch.tensor(sorted(rows.tolist()), dtype=rows.dtype).reshape(rows.shape)


def value_info(name: str, dtype: torch.dtype, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ONNX_TYPES[dtype], shape)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, name=f"{kind}_{outputs[0]}", **attributes)


def onnx_model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Mapping[str, np.ndarray | onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    """Make a model, and have ONNX check it."""
    initializers = [
        value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), constant)
        for constant, value in (constants or {}).items()
    ]
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(PLUGIN_DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Numbers from a normal distribution, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
