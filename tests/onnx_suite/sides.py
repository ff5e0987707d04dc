"""Runs a case on OpenVINO directly and on trtserve's runtime, and checks the outputs."""

import select
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import openvino

import runtime_ext
from tests.onnx_suite.cases import DATATYPES, NUMPY, Array, Case, DataSet, inputs
from tests.submitting import submit

WAIT_S = 60


class Outcome(NamedTuple):
    kind: str  # right, wrong, refused; for a dead worker process: crashed or hung
    detail: str = ""


class Side(Protocol):
    def run(self, case: Case) -> Outcome: ...


class OpenVino:
    """OpenVINO, called directly."""

    def __init__(self, folder: Path) -> None:
        self._core = openvino.Core()
        self._path = folder / "direct.onnx"

    def run(self, case: Case) -> Outcome:
        self._path.write_bytes(case.model.SerializeToString())
        try:
            model = self._core.compile_model(str(self._path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            for data in case.data_sets():
                request = model.create_infer_request()
                for index, array in enumerate(data.inputs.values()):
                    request.set_input_tensor(index, _tensor(array))
                request.infer()
                found = [_array(request.get_output_tensor(index)) for index in range(len(model.outputs))]
                if difference := _difference(case, found, data):
                    return Outcome("wrong", difference)
        except Exception as refusal:
            return Outcome("refused", _line(refusal))
        return Outcome("right")


class Trtserve:
    """trtserve's runtime, which must report names, datatypes and shapes as declared in the file."""

    def __init__(self, folder: Path) -> None:
        self._runtime = runtime_ext.create_runtime()
        self._path = folder / "ours.plan"
        self._loaded = 0

    def run(self, case: Case) -> Outcome:
        self._path.write_bytes(case.model.SerializeToString())
        self._loaded += 1
        try:
            info = self._runtime.load(
                self._loaded, str(self._path), "openvino", runtime_ext.LoadOptions(instances=1, threads=1)
            )
        except runtime_ext.Error as refusal:
            return Outcome("refused", f"{refusal.kind}: {_line(refusal)}")
        try:
            return _undeclared(case, info) or self._infer(case)
        finally:
            self._runtime.unload(self._loaded)

    def close(self) -> None:
        self._runtime.close()

    def _infer(self, case: Case) -> Outcome:
        for data in case.data_sets():
            tensors = [
                (name, _datatype(array), list(array.shape), _bytes(array))
                for name, array in data.inputs.items()
            ]
            try:
                submit(self._runtime, self._loaded, tensors)
            except runtime_ext.Error as refusal:
                return Outcome("refused", f"{refusal.kind}: {_line(refusal)}")
            ready, _, _ = select.select([self._runtime.completion_fd()], [], [], WAIT_S)
            if not ready:
                return Outcome("wrong", "no completion came")
            (completion,) = self._runtime.take_completions()
            if completion.kind is not None:
                return Outcome("refused", f"{completion.kind}: {completion.message}")
            found = [
                np.frombuffer(bytes(output), NUMPY[output.datatype]).reshape(output.shape)
                for output in completion.outputs
            ]
            if difference := _difference(case, found, data):
                return Outcome("wrong", difference)
        return Outcome("right")


def _undeclared(case: Case, info: runtime_ext.EngineInfo) -> Outcome | None:
    """Return an outcome if the engine's tensors differ from the graph's declarations."""
    for specs, declared in ((info.inputs, inputs(case.model)), (info.outputs, case.model.graph.output)):
        served = [(spec.name, spec.datatype) for spec in specs]
        wanted = [(tensor.name, DATATYPES[tensor.type.tensor_type.elem_type]) for tensor in declared]
        if served != wanted:
            return Outcome("wrong", f"serves {served} for {wanted}")
    return None


def _difference(case: Case, found: list[Array], data: DataSet) -> str:
    if len(found) != len(data.outputs):
        return f"{len(found)} outputs for {len(data.outputs)}"
    for index, (array, expected) in enumerate(zip(found, data.outputs, strict=True)):
        if not case.agrees(array, expected):
            return f"output {index}: {array.dtype} {array.shape} for {expected.dtype} {expected.shape}"
    return ""


def _datatype(array: Array) -> str:
    return next(datatype for datatype, dtype in NUMPY.items() if dtype == array.dtype)


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _tensor(array: Array) -> openvino.Tensor:
    if _datatype(array) != "BF16":
        return openvino.Tensor(array)
    tensor = openvino.Tensor(openvino.Type.bf16, openvino.Shape(array.shape))
    if array.size:
        tensor.data[...] = array.view(tensor.data.dtype) if tensor.data.dtype != array.dtype else array
    return tensor


def _array(tensor: openvino.Tensor) -> Array:
    array = np.array(tensor.data)  # a copy; OpenVINO uses another numpy type for bfloat16
    return array.view(NUMPY["BF16"]) if tensor.element_type == openvino.Type.bf16 else array


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[-300:]
