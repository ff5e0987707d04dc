"""The cases in the package `onnx`: a model, inputs, and the expected outputs."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, ValueInfoProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

Array = npt.NDArray[Any]

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
"""The kinds that need no download."""

DATATYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT8: "INT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.FLOAT16: "FP16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.BFLOAT16: "BF16",
}
NUMPY = {
    datatype: np.dtype(ml_dtypes.bfloat16)
    if datatype == "BF16"
    else onnx.helper.tensor_dtype_to_np_dtype(element_type)
    for element_type, datatype in DATATYPES.items()
}


@dataclass(frozen=True)
class DataSet:
    inputs: dict[str, Array]
    outputs: list[Array]


@dataclass(frozen=True)
class Case:
    name: str
    model: onnx.ModelProto
    data: list[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float

    def beyond_us(self) -> str | None:
        """Describe an input or output that no request can carry; None if there is none."""
        for tensor in (*inputs(self.model), *self.model.graph.output):
            kind = tensor.type.WhichOneof("value")
            if kind != "tensor_type":
                return f"{str(kind).removesuffix('_type')}s"
            element_type = tensor.type.tensor_type.elem_type
            if element_type not in DATATYPES:
                return TensorProto.DataType.Name(element_type)
        return None

    def data_sets(self) -> Iterator[DataSet]:
        names = [tensor.name for tensor in inputs(self.model)]
        for given, expected in self.data:
            arrays = [_array(value) for value in given]
            yield DataSet(dict(zip(names, arrays, strict=False)), [_array(value) for value in expected])

    def agrees(self, found: Array, expected: Array) -> bool:
        """Compare outputs like onnx.backend.test.runner."""
        if found.shape != expected.shape or found.dtype != expected.dtype:
            return False
        if found.dtype.kind in "biu":
            return bool(np.array_equal(found, expected))
        wide = (array.astype(np.float64) for array in (found, expected))
        return bool(np.allclose(*wide, rtol=self.rtol, atol=self.atol, equal_nan=True))


def inputs(model: onnx.ModelProto) -> list[ValueInfoProto]:
    """Return the graph's inputs that have no initializer."""
    known = {tensor.name for tensor in model.graph.initializer}
    known |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [tensor for tensor in model.graph.input if tensor.name not in known]


def load() -> dict[str, Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the package, which makes its cases on demand
        found = [test for kind in KINDS for test in load_model_tests(kind=kind)]
    cases = {}
    for test in found:
        if test.model is not None:
            model, data = test.model, list(test.data_sets)
        else:
            folder = Path(test.model_dir)
            model, data = onnx.load(folder / "model.onnx"), _stored(folder)
        cases[test.name] = Case(test.name, model, data, test.rtol, test.atol)
    return dict(sorted(cases.items()))


def _stored(folder: Path) -> list[tuple[list[Any], list[Any]]]:
    def tensors(data: Path, what: str) -> list[Any]:
        paths = sorted(data.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
        return [path.read_bytes() for path in paths]

    return [
        (tensors(data, "input"), tensors(data, "output")) for data in sorted(folder.glob("test_data_set_*"))
    ]


def _array(value: Any) -> Array:
    if isinstance(value, bytes):
        value = TensorProto.FromString(value)
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    return np.ascontiguousarray(value).reshape(np.shape(value))
