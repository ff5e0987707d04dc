"""Loops of ONNX models whose number of iterations, or whose outputs' shapes, a request decides."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import write_onnx

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL


def counting(path: Path, *, trip_count: bool = True, start_below: bool = False) -> Path:
    """y = how often the loop ran: `m` times at most, and while the count is below `limit`."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["count_in", "one"], ["count_out"]),
            helper.make_node("Less", ["count_out", "limit"], ["go_on_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", INT64, []),
            helper.make_tensor_value_info("go_on_in", BOOL, []),
            helper.make_tensor_value_info("count_in", FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on_out", BOOL, [1]),
            helper.make_tensor_value_info("count_out", FLOAT, [1]),
        ],
        [numpy_helper.from_array(np.float32([1]), "one")],
    )
    loop = helper.make_node("Loop", ["m" if trip_count else "", "", "zero"], ["y"], "the_loop", body=body)
    inputs: dict[str, tuple[int, list[int | str]]] = {"limit": (FLOAT, [1])}
    if trip_count:
        inputs["m"] = (INT64, [])
    zero = numpy_helper.from_array(np.float32([0]), "zero")
    return write_onnx(path, [loop], inputs, {"y": (FLOAT, [1])}, [zero])


@pytest.mark.parametrize(("trips", "runs"), [(3, 3), (1, 1), (0, 0), (-1, 0), (-(2**31), 0)])
def test_a_loop_runs_as_often_as_its_trip_count_says_and_not_at_all_below_one(
    harness: Harness, tmp_path: Path, trips: int, runs: int
) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan"), instances=1)
    answer = harness.infer(engine, m=np.int64(trips), limit=np.float32([1e30]))
    assert answer["y"].tolist() == [runs]


def test_a_loop_ends_when_its_condition_says_so(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan", trip_count=False), instances=1)
    assert harness.infer(engine, limit=np.float32([5]))["y"].tolist() == [5]
    bounded = harness.load_file(counting(tmp_path / "n.plan"), instances=1)
    assert harness.infer(bounded, m=np.int64(100), limit=np.float32([7]))["y"].tolist() == [7]
    assert [tensor.name for tensor in harness.runtime.engine(bounded).inputs] == ["limit", "m"]


@pytest.mark.parametrize("scanned", ["carried", "counted"])
def test_a_loop_that_joins_what_may_differ_in_shape_is_refused_at_load(
    harness: Harness, tmp_path: Path, scanned: str
) -> None:
    growing = [
        helper.make_node("Concat", ["v", "v"], ["v_out"], axis=0),
        helper.make_node("Identity", ["v_out"], ["scan"]),
    ]
    counting_up = [
        helper.make_node("Range", ["zero", "iteration", "one"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["scan"], to=FLOAT),
        helper.make_node("Identity", ["v"], ["v_out"]),
    ]
    body = helper.make_graph(
        [
            *(growing if scanned == "carried" else counting_up),
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", INT64, []),
            helper.make_tensor_value_info("go_on", BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, ["a"]),
        ],
        [
            helper.make_tensor_value_info("go_on_out", BOOL, []),
            helper.make_tensor_value_info("v_out", FLOAT, ["b"]),
            helper.make_tensor_value_info("scan", FLOAT, ["c"]),
        ],
        [numpy_helper.from_array(np.int64(n), name) for n, name in ((0, "zero"), (1, "one"))],
    )
    loop = helper.make_node("Loop", ["m", "", "x"], ["y", "s"], "the_loop", body=body)
    outputs: dict[str, tuple[int, list[int | str]]] = {"y": (FLOAT, ["d"]), "s": (FLOAT, ["e", "f"])}
    plan = write_onnx(tmp_path / "m.plan", [loop], {"m": (INT64, []), "x": (FLOAT, ["n"])}, outputs)
    with pytest.raises(runtime_ext.Error, match="may differ in shape") as refused:
        harness.load_file(plan)
    assert refused.value.kind == "Unsupported"


def test_an_unload_ends_a_loop_that_would_run_for_hours(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan"), instances=1)
    endless = harness.submit(engine, m=np.int64(2**31 - 1), limit=np.float32([1e30]))
    harness.runtime.unload(engine, 0)
    (completion,) = harness.wait(endless)
    assert completion.kind in {"Cancelled", "Unavailable"}
