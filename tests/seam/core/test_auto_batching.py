"""Engines that nobody asked to batch: which join requests, and what becomes of one that fits in no batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from runtime_ext import AUTO_BATCH_SIZE
from runtime_ext.batch_check import why_not_joined
from tests.seam.conftest import Harness
from tests.seam.models import write_onnx

F, WHOLE = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node
NUMBERS = np.random.default_rng(1)


def constant(name: str, value: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


FIRST_AXIS = constant("axes", np.array([0], np.int64))
PLUS_X = node("Add", ["z", "x"], ["y"])  # alone, a request has the same mean or softmax as any other
MEAN = node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1)
ROWS = [node("Shape", ["x"], ["rows"], start=0, end=1)]

INDEPENDENT: dict[str, tuple[list[onnx.NodeProto], list[TensorProto]]] = {
    "each element": ([node("Relu", ["x"], ["y"])], []),
    "a matrix product": (
        [node("MatMul", ["x", "w"], ["y"])],
        [constant("w", NUMBERS.standard_normal((8, 8)).astype(np.float32))],
    ),
    "a softmax of each row": ([node("Softmax", ["x"], ["y"], axis=1)], []),
}
MIXED: dict[str, tuple[list[onnx.NodeProto], list[TensorProto], str]] = {
    "a softmax over the batch": ([node("Softmax", ["x"], ["z"], axis=0), PLUS_X], [], "depends on those"),
    "a mean over the batch": ([MEAN, node("Sub", ["x", "mean"], ["z"]), PLUS_X], [], "depends on those"),
    "a small mean of large numbers": (
        [MEAN, node("Add", ["x", "large"], ["w"]), node("Sub", ["w", "mean"], ["z"]), PLUS_X],
        [constant("large", np.float32(1000))],
        "depends on those",
    ),
    "a running sum": (
        [node("CumSum", ["x", "axis"], ["y"])],
        [constant("axis", np.array(0, np.int64))],
        "depends on those",
    ),
    "a sort of the batch": (
        [*ROWS, node("TopK", ["x", "rows"], ["y", "at"], axis=0)],
        [],
        "depends on those",
    ),
    "the first row": (
        [node("Gather", ["x", "axes"], ["first"], axis=0), node("Sub", ["x", "first"], ["z"]), PLUS_X],
        [FIRST_AXIS],
        "depends on those",
    ),
    "random numbers": (
        [node("RandomUniformLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])],
        [],
        "differs between two runs",
    ),
    "the same for every input": (
        [node("Mul", ["x", "nil"], ["y"])],
        [constant("nil", np.float32(0))],
        "the same",
    ),
}


def loaded(
    harness: Harness, folder: Path, nodes: list[onnx.NodeProto], constants: list[TensorProto]
) -> runtime_ext.EngineInfo:
    path = write_onnx(folder / "m.onnx", nodes, {"x": (F, ["b", 8])}, {"y": (F, ["b", 8])}, constants)
    engine = harness.load_file(path, max_batch_size=AUTO_BATCH_SIZE)
    return harness.runtime.engine(engine)


@pytest.mark.parametrize(("nodes", "constants"), INDEPENDENT.values(), ids=list(INDEPENDENT))
def test_requests_whose_rows_are_independent_may_be_joined(
    harness: Harness, tmp_path: Path, nodes: list[onnx.NodeProto], constants: list[TensorProto]
) -> None:
    info = loaded(harness, tmp_path, nodes, constants)
    assert (info.max_batch_size, info.why_not_joined) == (64, "")
    assert why_not_joined(harness.runtime, info, {}, coarse=False) == ""


@pytest.mark.parametrize(("nodes", "constants", "why"), MIXED.values(), ids=list(MIXED))
def test_requests_whose_rows_are_mixed_must_not_be_joined(
    harness: Harness, tmp_path: Path, nodes: list[onnx.NodeProto], constants: list[TensorProto], why: str
) -> None:
    info = loaded(harness, tmp_path, nodes, constants)
    assert why in why_not_joined(harness.runtime, info, {}, coarse=False)


@pytest.mark.parametrize(("seconds", "executions"), [(60, 1), (0.2, 2)])
def test_an_engine_whose_executions_take_long_is_checked_no_further(
    harness: Harness, tmp_path: Path, seconds: float, executions: int
) -> None:
    info = loaded(harness, tmp_path, *INDEPENDENT["each element"])
    now, ran = 0.0, 0

    def slow(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        nonlocal now, ran
        now += seconds
        ran += 1
        return list(inputs)

    why = why_not_joined(harness.runtime, info, {}, coarse=False, execute=slow, clock=lambda: now)
    assert ("take too long for the check" in why, ran) == (True, executions)


def test_an_engine_that_keeps_something_of_earlier_requests_must_not_be_joined(
    harness: Harness, tmp_path: Path
) -> None:
    info = loaded(harness, tmp_path, *INDEPENDENT["each element"])
    seen = np.zeros(8, np.float32)

    def adds_up(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        seen[:] += inputs[0].sum(axis=0)
        return [inputs[0] + seen]

    why = why_not_joined(harness.runtime, info, {}, coarse=False, execute=adds_up)
    assert "differs between two runs with the same input" in why


@pytest.mark.parametrize(("mixes", "why"), [(False, ""), (True, "depends on those")])
def test_bf16_is_compared_as_the_numbers_that_it_stands_for(harness: Harness, mixes: bool, why: str) -> None:
    engine = harness.load_toy("input x BF16 -1 4\noutput y x 1", max_batch_size=AUTO_BATCH_SIZE)
    info = harness.runtime.engine(engine)
    if not mixes:
        assert why_not_joined(harness.runtime, info, {}, coarse=True) == ""

    def computed(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert inputs[0].dtype == np.float32
        assert not (inputs[0].view(np.uint32) & 0xFFFF).any(), "a BF16 has no lower half"
        return [inputs[0] + mixes * inputs[0].mean(axis=0)]

    found = why_not_joined(harness.runtime, info, {}, coarse=True, execute=computed)
    assert (why in found, bool(found)) == (True, mixes)


@pytest.mark.parametrize(
    ("plan", "most", "why"),
    [
        ("input x FP32 -1 4\noutput y x 2", 64, ""),
        ("input x FP32 1 4\noutput y x 2", 1, "input 'x' is fixed in dimension 0 of its shape [1, 4]"),
    ],
)
def test_an_engine_joins_what_its_tensors_allow_and_says_why_it_does_not(
    harness: Harness, plan: str, most: int, why: str
) -> None:
    info = harness.runtime.engine(harness.load_toy(plan, max_batch_size=AUTO_BATCH_SIZE))
    assert (info.max_batch_size, info.why_not_joined) == (most, why)


def test_a_request_that_fits_in_no_batch_runs_alone(harness: Harness, tmp_path: Path) -> None:
    path = write_onnx(
        tmp_path / "m.onnx",
        [node("Add", ["a", "c"], ["y"])],
        {"a": (F, ["b", 4]), "c": (F, ["d", 4])},
        {"y": (F, ["k", 4])},
        [],
    )
    engine = harness.load_file(path, max_batch_size=AUTO_BATCH_SIZE)
    assert harness.runtime.engine(engine).max_batch_size == 64
    many, one = np.ones((100, 4), np.float32), np.ones((1, 4), np.float32)
    for a, c in ((many, many), (many, one), (one, many), (one, one)):
        np.testing.assert_array_equal(harness.infer(engine, a=a, c=c)["y"], a + c)


def test_an_engine_that_is_told_to_joins_no_more_requests_and_says_why(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 -1 4\noutput y x 2", max_batch_size=AUTO_BATCH_SIZE)
    harness.runtime.stop_joining(engine, "its rows are mixed")
    info = harness.runtime.engine(engine)
    assert (info.max_batch_size, info.why_not_joined) == (1, "its rows are mixed")
    assert not harness.runtime.condition(engine).joins_requests
